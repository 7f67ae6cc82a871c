/** What a person can mend: what is wrong, what to do, and more for who wants to know. */
export class Problem extends Error {
  constructor(cause, advice, more = "") {
    super(cause);
    this.advice = advice;
    this.more = more;
  }

  toString() {
    return [...(this.more ? [this.more] : []), `error: ${this.message}`, ...(this.advice ? [`  ${this.advice}`] : [])].join("\n");
  }
}
