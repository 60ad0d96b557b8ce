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
  renewsAt: string | null;
}

export interface Limits {
  fileBytes: number;
  outputPixels: number;
  strokes: number;
  strokePoints: number;
  brushSizePixels: number;
  selectionPoints: number;
  retentionHours: number;
  creditsPerRun: number;
}

export interface Session {
  csrfToken: string;
  /** null for a guest. */
  account: Account | null;
  samples: { name: string; title: string; url: string }[];
  tools: ToolInfo[];
  prompts: { isInstalled: boolean };
  limits: Limits;
}

/** The kept foreground of a photo, and the look that is drawn from it. Its size is that of the photo. */
export interface Cutout extends Size {
  url: string;
  photoId: string;
  photoUrl: string;
  backgroundUrl: string | null;
  look: Fields;
}

/** A selection that is kept to be used by a tool: what is selected, and the step that it was made in. */
export interface KeptSelection {
  stepId: string;
  params: Fields;
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
}

export interface ListedProject {
  id: string;
  name: string;
  usedAt: string;
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
  /** Once the run has ended: the account's remaining credits, null for a guest. */
  creditsAvailable?: number | null;
  /** Once the run is done and was fetched by its id. */
  step?: Step;
}

/** The run that the editor waits for. `id` is null until the server has accepted it. */
export type ActiveRun = Pick<Run, "status" | "stage" | "fraction" | "queuePosition" | "version"> & {
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
