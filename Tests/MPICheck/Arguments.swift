import Glibc

var arguments: ArraySlice<String> { CommandLine.arguments.dropFirst() }

/// The text after `--name`.
func option(_ name: String) -> String? {
    guard let index = arguments.firstIndex(of: "--" + name), index + 1 < arguments.endIndex else { return nil }
    return arguments[index + 1]
}

func option(_ name: String, _ preset: Double) -> Double { option(name).flatMap(Double.init) ?? preset }

/// A line on stderr, written at once and whole.
func complain(_ text: String) {
    let line = Array("mpi-check: \(text)\n".utf8)
    _ = write(2, line, line.count)
}
