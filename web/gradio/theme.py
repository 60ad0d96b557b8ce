"""Theme of the Gradio pages: the same custom properties as the plain pages."""

from typing import TYPE_CHECKING

from web.rendering import static_files

if TYPE_CHECKING:
    import gradio as gr

#: System fonts; Gradio's default theme would load fonts from another host.
_FONTS = ("ui-sans-serif", "system-ui", "Segoe UI", "Roboto", "Noto Sans", "Liberation Sans", "sans-serif")
_MONOSPACE_FONTS = ("ui-monospace", "Cascadia Mono", "Liberation Mono", "Menlo", "monospace")

CSS = """
footer, .gradio-container > .nav-holder, nav.nav-holder { display: none !important; }
gradio-app, body { background: var(--paper) !important; }
.gradio-container, .gradio-container > .fillable { max-width: none !important; padding: 0 !important; }
"""


def site_theme() -> "gr.themes.Base":
    """Every colour comes from `static/tokens.css`, so light and dark mode follow the system's setting."""
    import gradio as gr

    colors = {
        "body_background_fill": "var(--paper)",
        "body_text_color": "var(--ink)",
        "body_text_color_subdued": "var(--ink-soft)",
        "background_fill_primary": "var(--surface)",
        "background_fill_secondary": "var(--sunken)",
        "border_color_primary": "var(--line)",
        "border_color_accent": "var(--accent)",
        "color_accent": "var(--accent)",
        "color_accent_soft": "var(--accent-soft)",
        "link_text_color": "var(--accent)",
        "link_text_color_hover": "var(--accent-strong)",
        "link_text_color_visited": "var(--accent)",
        "link_text_color_active": "var(--accent-strong)",
        "block_background_fill": "var(--surface)",
        "block_border_color": "var(--line)",
        "block_label_background_fill": "var(--surface)",
        "block_label_text_color": "var(--ink-soft)",
        "block_title_text_color": "var(--ink)",
        "block_info_text_color": "var(--ink-soft)",
        "panel_background_fill": "var(--surface)",
        "input_background_fill": "var(--surface)",
        "input_background_fill_focus": "var(--surface)",
        "input_border_color": "var(--line-strong)",
        "input_border_color_focus": "var(--accent)",
        "input_placeholder_color": "var(--ink-soft)",
        "button_primary_background_fill": "var(--accent)",
        "button_primary_background_fill_hover": "var(--accent-strong)",
        "button_primary_text_color": "var(--on-accent)",
        "button_primary_text_color_hover": "var(--on-accent)",
        "button_secondary_background_fill": "var(--surface)",
        "button_secondary_background_fill_hover": "var(--sunken)",
        "button_secondary_border_color": "var(--line-strong)",
        "button_secondary_text_color": "var(--ink)",
        "button_secondary_text_color_hover": "var(--ink)",
        "button_cancel_background_fill": "var(--surface)",
        "button_cancel_background_fill_hover": "var(--danger-soft)",
        "button_cancel_text_color": "var(--danger)",
        "button_cancel_text_color_hover": "var(--danger)",
        "button_cancel_border_color": "var(--danger)",
        "table_even_background_fill": "var(--surface)",
        "table_odd_background_fill": "var(--surface)",
        "table_border_color": "var(--line)",
        "table_row_focus": "var(--accent-soft)",
        "code_background_fill": "var(--sunken)",
    }
    theme = gr.themes.Base(font=_FONTS, font_mono=_MONOSPACE_FONTS)
    # Gradio's own dark values would override the tokens, which switch by themselves.
    options = set(vars(theme))
    both = {
        **colors,
        **{f"{name}_dark": value for name, value in colors.items() if f"{name}_dark" in options},
    }
    return theme.set(
        **both,
        block_border_width="1px",
        button_border_width="1px",
        block_radius="10px",
        button_large_radius="6px",
    )


def head() -> str:
    """Additional elements of the `<head>` of every page that Gradio's client draws."""
    styles = ("app.css", "account_switch.css")
    links = (f'<link rel="stylesheet" href="{static_files.address_of(each)}">' for each in styles)
    return page_head() + "".join(links)


def page_head() -> str:
    """What the `<head>` of every Gradio page needs: the colours and the icon."""
    return (
        f'<link rel="stylesheet" href="{static_files.address_of("tokens.css")}">'
        f'<link rel="icon" href="{static_files.address_of("icon.svg")}" type="image/svg+xml">'
    )
