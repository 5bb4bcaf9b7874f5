/** Entries of one collection by a second key, such as assignments by node. */
export class Grouped<T> {
  readonly #groups = new Map<string, Map<string, T>>();

  /** The group's entries by their own id; an empty map when there are none. */
  get(group: string): ReadonlyMap<string, T> {
    return this.#groups.get(group) ?? new Map<string, T>();
  }

  set(group: string, id: string, entry: T): void {
    const found = this.#groups.get(group);
    if (found) found.set(id, entry);
    else this.#groups.set(group, new Map([[id, entry]]));
  }

  delete(group: string, id: string): void {
    const found = this.#groups.get(group);
    found?.delete(id);
    if (found?.size === 0) this.#groups.delete(group);
  }
}
