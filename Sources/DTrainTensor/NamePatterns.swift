#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Shell patterns that parameter names are matched against, as in `--freeze 'layer1.*'`.
///
/// `*` stands for any text (dots too), `?` for one character, `[a-c]` for one of a set (POSIX `fnmatch`).
public struct NamePatterns: Hashable, Sendable {
    public let patterns: [String]

    public init(_ patterns: [String]) { self.patterns = patterns }

    /// Whether any of the patterns matches.
    public func match(_ name: String) -> Bool { patterns.contains { fnmatch($0, name, 0) == 0 } }

    /// The first pattern that matches none of `names`.
    public func firstUnmatched(among names: [String]) -> String? {
        patterns.first { pattern in !names.contains { fnmatch(pattern, $0, 0) == 0 } }
    }
}
