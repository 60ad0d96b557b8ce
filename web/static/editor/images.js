// Previews as images that can be drawn, each loaded once.

const loaded = new Map();
const KEPT = 40;

/** The image at an address, decoded. */
export function load(address) {
  if (!loaded.has(address)) {
    const image = new Image();
    image.decoding = "async";
    image.src = address;
    const decoded = image.decode().then(() => image);
    decoded.catch(() => loaded.delete(address));
    loaded.set(address, decoded);
    if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
  }
  return loaded.get(address);
}

/** Whether any of it is transparent, as far as a look at a small copy can tell. */
export function hasTransparency(image) {
  const side = 160;
  const canvas = new OffscreenCanvas(side, side);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0, side, side);
  const { data } = context.getImageData(0, 0, side, side);
  for (let at = 3; at < data.length; at += 4) if (data[at] < 250) return true;
  return false;
}

/** A grey mask as a canvas to lay over the picture: `color` where it is white, with a light outline. */
export function tinted(mask, color, strength = 0.45) {
  const { width, height } = mask;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(mask, 0, 0);
  const picture = context.getImageData(0, 0, width, height);
  const grey = new Uint8Array(width * height);
  for (let at = 0; at < grey.length; at += 1) grey[at] = picture.data[at * 4];
  const [red, green, blue] = rgbOf(color);
  for (let at = 0; at < grey.length; at += 1) {
    const isInside = grey[at] > 127;
    const column = at % width;
    const isEdge =
      isInside &&
      (column === 0 ||
        column === width - 1 ||
        grey[at - 1] <= 127 ||
        grey[at + 1] <= 127 ||
        (grey[at - width] ?? 0) <= 127 ||
        (grey[at + width] ?? 0) <= 127);
    const place = at * 4;
    picture.data[place] = isEdge ? 255 : red;
    picture.data[place + 1] = isEdge ? 255 : green;
    picture.data[place + 2] = isEdge ? 255 : blue;
    picture.data[place + 3] = isEdge ? 255 : grey[at] * strength;
  }
  context.putImageData(picture, 0, 0);
  return canvas;
}

function rgbOf(color) {
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d");
  context.fillStyle = color;
  context.fillRect(0, 0, 1, 1);
  return context.getImageData(0, 0, 1, 1).data;
}
