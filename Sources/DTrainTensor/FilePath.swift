/// Parts of a path, as text. (Foundation's own functions end the program for a relative name of one letter.)
package enum FilePath {
    /// The folder that `path` is in: `.` for a plain name.
    package static func parent(of path: String) -> String {
        var rest = path[...]
        while rest.utf8.count > 1, rest.hasSuffix("/") { rest.removeLast() }
        guard let slash = rest.lastIndex(of: "/") else { return "." }
        return slash == rest.startIndex ? "/" : String(rest[..<slash])
    }

    /// What follows the last slash.
    package static func name(of path: String) -> String {
        path.split(separator: "/").last.map(String.init) ?? path
    }
}
