// The types that the editor's modules share: what the server's /editor routes answer, and geometry.

export interface Point {
  x: number;
  y: number;
}

export interface Size {
  width: number;
  height: number;
}

/** A rectangle in the picture's pixel coordinates. */
export type Frame = Point & Size;

/** "move" drags the whole frame; the others are compass directions of its corners and sides. */
export type Handle = "nw" | "n" | "ne" | "e" | "se" | "s" | "sw" | "w" | "move";

/** Where the picture is on the screen: screen pixels per picture pixel, and the place of its top left corner. */
export type View = Point & { scale: number };

/** Form fields by name, as the API takes them. */
export type Fields = Record<string, string>;

export interface Brush {
  /** Diameter in picture pixels. */
  size: number;
  /** 0 to 1. */
  hardness: number;
  /** 0 to 1. */
  opacity: number;
}

/** A brush stroke in picture coordinates, as the API takes it. */
export interface Stroke extends Brush {
  points: [number, number][];
}

/** What points out an object: clicks (x, y, 1 for the object and 0 for the background), a box, or neither. */
export interface Selection {
  points: [number, number, 0 | 1][];
  /** Left, top, right, bottom. */
  box: [number, number, number, number] | null;
  auto: boolean;
}

/** One property of a tool's JSON Schema, as far as the editor reads it. */
export interface Property {
  type?: string;
  description?: string;
  default?: unknown;
  enum?: unknown[];
  const?: unknown;
  anyOf?: Property[];
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  exclusiveMaximum?: number;
  maxLength?: number;
}

export interface Parameters {
  properties: Record<string, Property>;
  required?: string[];
}

export interface ToolInfo {
  name: string;
  title: string;
  summary: string;
  parameters: Parameters;
}

export interface Account {
  plan: string;
  email: string;
  isVerified: boolean;
  creditsAvailable: number;
  /** As #rrggbb. */
  brandColors: string[];
  renewsAt: string | null;
  /** Of the person in the account that is worked in. */
  role: Role;
  /** All accounts that can be chosen, the person's own first. */
  places: { accountId: string; email: string; role: Role; isChosen: boolean }[];
}

export type Role = "owner" | "member" | "viewer";

export interface Limits {
  fileBytes: number;
  outputPixels: number;
  strokes: number;
  strokePoints: number;
  brushSizePixels: number;
  selectionPoints: number;
  retentionHours: number;
  creditsPerRun: number;
  /** Of one batch. */
  batchPictures: number;
  batchSteps: number;
  /** Of one request that uploads pictures of a batch. */
  pieceFiles: number;
  pieceBytes: number;
}

export interface Session {
  csrfToken: string;
  /** null for a guest. */
  account: Account | null;
  samples: { name: string; title: string; url: string }[];
  tools: ToolInfo[];
  prompts: { isInstalled: boolean };
  scenes: { name: string; title: string; url: string; thumbnailUrl: string }[];
  presets: Preset[];
  brandColorsMax: number;
  /**
   * Guests' previews of their own pictures: their longest side in pixels, how many a day are free, and how long it is
   * until there is one for this network.
   */
  previews: { side: number; aDay: number; waitSeconds: number };
  limits: Limits;
  /** Credits on sale, smallest first. None for guests. */
  packs: { credits: number; price: string }[];
}

/** A named frame for cut-outs. `background`: the color it rules, if it rules one. */
export interface Preset {
  name: string;
  title: string;
  rule: string;
  fields: Fields;
  background: string | null;
}

/** The kept foreground of a photo, and the look that is drawn from it. Its size is that of the photo. */
export interface Cutout extends Size {
  url: string;
  photoId: string;
  photoUrl: string;
  sharpPhotoUrl: string;
  backgroundUrl: string | null;
  look: Fields;
  /** The corner with a preview's mark: left, top, right, bottom. It belongs to the picture, not to the subject. */
  markBox: [number, number, number, number] | null;
}

/** A selection that is kept to be used by a tool: what is selected, and the step that it was made in. */
export interface KeptSelection {
  stepId: string;
  params: Fields;
}

/** The run that made a preview, in pixels of its photo. */
export interface PreviewedRun {
  tool: string;
  params: Fields;
  selection: KeptSelection | null;
}

export interface Step {
  id: string;
  parentId: string | null;
  number: number;
  /** null for the original. */
  tool: string | null;
  title: string;
  params: Fields;
  answer: Record<string, unknown>;
  imageId: string;
  width: number;
  height: number;
  format: string;
  isMask: boolean;
  /** Whether the server still has the step's image. */
  isAvailable: boolean;
  /** Whether the step's image shows its look; else the browser draws it from the cut-out. */
  isRendered: boolean;
  /** Small and marked, made for a guest. */
  isPreview: boolean;
  /** What a preview is compared with, and the run that makes it at full size; null if that is not known. */
  preview: { beforeUrl: string; request: PreviewedRun | null } | null;
  /** The layers of a cut-out that can still be changed; null for other steps. */
  cutout: Cutout | null;
  previewUrl: string;
  closeUrl: string;
  thumbnailUrl: string;
}

export interface Project {
  id: string;
  name: string;
  /** The name of the sample that was opened, or null. */
  sample: string | null;
  currentStepId: string;
  expiresAt: string;
  steps: Step[];
  /** The run that may add the next step, also one that another tab has started. */
  run: (Run & { tool: string }) | null;
}

export interface ListedProject {
  id: string;
  name: string;
  usedAt: string;
  expiresAt: string;
  thumbnailUrl: string;
}

/** The `error` object of the API. */
export interface ApiErrorBody {
  code: string;
  message: string;
  param?: string | null;
}

/** A run as the server describes it. */
export interface Run {
  id: string;
  status: "queued" | "running" | "done" | "failed" | "cancelled";
  stage: string;
  fraction: number;
  queuePosition: number;
  version: number;
  stepId: string | null;
  error: (ApiErrorBody & { status: number }) | null;
  creditsCharged: number;
  /** How long the work is expected to take; null if that is unknown. */
  expectedSeconds: number | null;
  /** How long it has been running. */
  elapsedSeconds: number;
  /** Once the run has ended: the account's remaining credits, null for a guest. */
  creditsAvailable?: number | null;
  /** Once the run is done and was fetched by its id. */
  step?: Step;
}

/** The run that the editor waits for. `id` is null until the server has accepted it. */
export type ActiveRun = Pick<
  Run,
  "status" | "stage" | "fraction" | "queuePosition" | "version" | "expectedSeconds" | "elapsedSeconds"
> & {
  id: string | null;
  title: string;
  isCancelled: boolean;
  /** The server does not answer; the request is sent again until it does. */
  isDisconnected: boolean;
};

/** The body that starts a run. */
export interface RunBody {
  tool: string;
  params: Fields;
  stepId: string;
  /** Selects what the tool acts on, as part of its run. */
  selection?: KeptSelection;
}

/** What a tool asks the model to run; on the current step unless `stepId` says otherwise. */
export interface RunRequest {
  tool: string;
  params: Fields;
  title: string;
  stepId?: string;
  selection?: KeptSelection;
}

export type FileType = "png" | "jpg" | "webp" | "avif";

export interface DownloadOptions {
  format: FileType;
  quality: number;
  /** The picture's own width if there is none. */
  width?: number;
  /** The color behind transparency, for file types without it. */
  background?: string;
}

/** A button that applies a tool. */
export interface Action {
  label: string;
  /** Why it cannot be applied yet, or "". */
  problem: string;
  request: () => RunRequest;
  isHidden?: boolean;
  /** Instead of a run, for actions that cost nothing and change no picture. */
  act?: () => void;
}

/** A picture that a batch is to be made of. Once it was uploaded it has an id, or the code of its refusal. */
export interface Picture {
  file: File;
  /** With its folders. */
  name: string;
  imageId?: string;
  refused?: string;
}

export interface BatchStep {
  tool: string;
  params: Fields;
}

export type BatchStatus = "queued" | "running" | "paused" | "blocked" | "completed" | "cancelled";
export type ItemStatus = "queued" | "running" | "succeeded" | "failed" | "cancelled";

export interface Batch {
  id: string;
  status: BatchStatus;
  /** The steps' tools, in order. */
  tools: string[];
  title: string;
  total: number;
  counts: Record<ItemStatus, number>;
  creditsCharged: number;
  /** The failed pictures that can be tried again. */
  retryable: number;
  createdAt: string;
  /** When it is given up; once it has ended, when its results expire. */
  expiresAt: string;
  /** Since it began, until it ended; null before. */
  elapsedSeconds: number | null;
  hasEnded: boolean;
  creditsAvailable: number;
  renewsAt: string | null;
}

export interface BatchItem {
  position: number;
  name: string;
  status: ItemStatus;
  stepsDone: number;
  /** null if there is nothing to show. */
  thumbnailUrl: string | null;
  result: { format: string; bytes: number } | null;
  error: ApiErrorBody | null;
}

/** What a batch would cost. */
export interface Quote {
  credits: number;
  creditsAvailable: number;
  renewsAt: string | null;
  /** null if it is not known. */
  expectedSeconds: number | null;
}
