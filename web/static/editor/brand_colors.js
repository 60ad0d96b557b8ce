// The user's own colors: kept with the account, those of guests as long as the browser's tab.

/** @import { Model } from "./model.js" */

const GUEST_KEY = "bgeraser.brand-colors";

export class BrandColors {
  /** @param {Model} model */
  constructor(model) {
    this.model = model;
    /** @type {string[]} */
    this.all = model.account?.brandColors ?? JSON.parse(model.storage.getItem(GUEST_KEY) ?? "[]");
  }

  get isFull() {
    return this.all.length >= this.model.session.brandColorsMax;
  }

  /** @param {string} color such as #1f3a5f */
  add(color) {
    return this.#save([...this.all, color.toLowerCase()]);
  }

  /** @param {string} color */
  remove(color) {
    return this.#save(this.all.filter((one) => one !== color));
  }

  /** @param {string[]} colors */
  async #save(colors) {
    const previous = this.all;
    this.all = [...new Set(colors)];
    if (!this.model.account) {
      this.model.storage.setItem(GUEST_KEY, JSON.stringify(this.all));
      return;
    }
    try {
      this.all = (await this.model.client.setBrandColors(this.all)).colors;
      this.model.account.brandColors = this.all;
    } catch (error) {
      this.all = previous;
      this.model.reportError(error);
    }
  }
}
