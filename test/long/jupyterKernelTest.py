"""jupyter_kernel_test on the kernel `rewardlab` of JUPYTER_PATH. Nothing is skipped."""

import unittest

from jupyter_kernel_test import IopubWelcomeTests, KernelTests


class Kernel(KernelTests):
    kernel_name = "rewardlab"
    language_name = "typescript"
    file_extension = ".ts"

    code_hello_world = "console.log('hello, world')"
    code_stderr = "console.error('careful')"
    code_page_something = "JSON.parse?"
    code_generate_error = "throw new RangeError('too far')"
    code_clear_output = "clearOutput()"
    code_inspect_sample = "JSON.parse"
    completion_samples = [
        {"text": "encodeURIC", "matches": ["encodeURIComponent"]},
        {"text": "Math.hy", "matches": ["hypot"]},
    ]
    complete_code_samples = ["1 + 1", "await fetch('a')", "for (const x of [1]) {\n  console.log(x)\n}", "JSON?", ""]
    incomplete_code_samples = ["for (const x of [1]) {", "f(1,", "const text = `a", "/* note"]
    invalid_code_samples = ["const = 1", "let x y"]
    code_execute_result = [
        {"code": "1 + 1", "result": "2"},
        {"code": "6 * 7", "result": "42"},
        {"code": "[1, 'a']", "result": "[ 1, 'a' ]"},
    ]
    code_history_pattern = "1*1"
    supported_history_operations = ("tail", "range", "search")
    code_display_data = [
        {"code": "display({ data: new Uint8Array(16), width: 2, height: 2 })", "mime": "image/png"},
        {"code": "display('text')", "mime": "text/plain"},
    ]


class Welcome(IopubWelcomeTests):
    kernel_name = "rewardlab"
    support_iopub_welcome = True


del KernelTests, IopubWelcomeTests  # else unittest runs them for Python's kernel

if __name__ == "__main__":
    unittest.main()
