import Mocha from 'mocha'

/** Mocha's own report, then one plain line: `N passed, N failed`, and `, N skipped` where tests were. */
export default class extends Mocha.reporters.Spec {
  epilogue() {
    super.epilogue()
    const { passes, failures, pending } = this.stats
    console.log(`${passes} passed, ${failures} failed${pending ? `, ${pending} skipped` : ''}`)
  }
}
