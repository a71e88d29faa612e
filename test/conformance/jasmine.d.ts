/* The part of jasmine that the conformance suite uses. Its published types declare globals that would clash with mocha's. */
declare module 'jasmine' {
  export interface Result {
    fullName: string
    status: string
    failedExpectations: { message: string; stack: string }[]
  }
  export interface Reporter {
    jasmineStarted(info: { totalSpecsDefined: number }): void
    specDone(result: Result): void
    suiteDone(result: Result): void
    jasmineDone(info: Result): void
  }
  interface Environment {
    configure(options: {
      random?: boolean
      forbidDuplicateNames?: boolean
      specFilter?: (spec: { getFullName(): string }) => boolean
    }): void
    addReporter(reporter: Reporter): void
    clearReporters(): void
    execute(): Promise<unknown>
  }
  export default class Jasmine {
    readonly env: Environment
    readonly jasmine: { DEFAULT_TIMEOUT_INTERVAL: number }
  }
}
