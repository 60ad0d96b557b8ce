"""Tables of the web editor: a project is one opened image, its steps form the tree of results."""

from datetime import datetime

from sqlalchemy import Boolean, Column, Text, UniqueConstraint, false, true
from sqlmodel import Field, SQLModel

from billing.timestamps import UtcDateTime


class Project(SQLModel, table=True):
    """An opened image and its results, kept as long as the images are stored."""

    __tablename__ = "editor_project"

    id: str = Field(primary_key=True)  # prj_…
    #: Owns the images. For guests it is their common account, and `session_id` identifies the guest.
    account_id: str = Field(foreign_key="account.id", index=True)
    session_id: str | None = Field(default=None, index=True)
    name: str = Field(max_length=200)  # the file name; displayed, and used for downloads
    sample: str | None = Field(default=None)  # the sample's name; guests get only previews of other images
    current_step_id: str  # no foreign key: the first step is written after its project
    created_at: datetime = Field(sa_type=UtcDateTime)
    used_at: datetime = Field(sa_type=UtcDateTime)
    expires_at: datetime = Field(sa_type=UtcDateTime, index=True)  # extended by every use


class Step(SQLModel, table=True):
    """One image of a project: the opened one (no tool), or a tool's result for the parent step's image."""

    __tablename__ = "editor_step"
    __table_args__ = (
        UniqueConstraint("project_id", "number", name="editor_step_number_once"),
        UniqueConstraint("project_id", "run_key", name="editor_step_run_once"),
    )

    id: str = Field(primary_key=True)  # stp_…
    project_id: str = Field(foreign_key="editor_project.id")
    parent_id: str | None = Field(default=None)  # a step of the same project
    number: int  # 0, 1, … in order of creation
    tool: str | None = Field(default=None)
    params: str = Field(default="{}", sa_type=Text)  # JSON: form fields as sent, files by id
    answer: str = Field(default="{}", sa_type=Text)  # JSON: the answer's data besides the image
    image_id: str  # no foreign key: an image can be deleted before its step
    width: int
    height: int
    format: str
    is_mask: bool = Field(default=False)  # a selection, not an editable image
    #: Small and marked, made for a guest. Tools are never applied to it but to the photo before it.
    is_preview: bool = Field(default=False, sa_column=Column(Boolean, nullable=False, server_default=false()))
    run_key: str | None = Field(default=None)  # the idempotency key of the run that created it
    #: The layers of a cut-out, `api.editor.layers.Layers`. No foreign keys, as for `image_id`.
    cutout_id: str | None = Field(default=None)
    photo_id: str | None = Field(default=None)
    photo_width: int | None = Field(default=None)
    photo_height: int | None = Field(default=None)
    look: str | None = Field(default=None, sa_type=Text)  # JSON
    background_id: str | None = Field(default=None)
    #: Whether `image_id` shows the look. If not, it is the cut-out until the look is drawn at full size.
    is_rendered: bool = Field(default=True, sa_column=Column(Boolean, nullable=False, server_default=true()))
    created_at: datetime = Field(sa_type=UtcDateTime)


class SharedRun(SQLModel, table=True):
    """A run as its process wrote it last; see `api.editor.shared_runs`."""

    __tablename__ = "editor_run"

    id: str = Field(primary_key=True)  # run_…
    #: No foreign key: the project may be deleted while the run is stopped.
    project_id: str = Field(index=True)
    key: str
    owner: str
    tool: str
    status: str
    state: str = Field(sa_type=Text)  # JSON, as the browser gets it
    is_stop_wanted: bool = Field(default=False)
    watched_at: datetime | None = Field(default=None, sa_type=UtcDateTime)  # by browsers at other processes
    written_at: datetime = Field(sa_type=UtcDateTime, index=True)


class BrandColors(SQLModel, table=True):
    """The colours that an account keeps for backgrounds, shadows and outlines."""

    __tablename__ = "brand_colors"

    account_id: str = Field(primary_key=True, foreign_key="account.id")
    colors: str = Field(sa_type=Text)  # "#rrggbb #rrggbb …"
