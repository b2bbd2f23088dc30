import Foundation

/// A place that holds the files of the official addresses under the same names, side by side:
/// `BASE/train-images-idx3-ubyte.gz`, `BASE/cifar-10-binary.tar.gz`, `BASE/resnet50-0676ba61.pth`.
///
/// Checksums do not depend on where a file comes from, so a mirror needs no trust.
public struct Mirror: Hashable, Sendable, CustomStringConvertible {
    /// Ends with a slash.
    public let base: String

    /// Throws `FetchUsageError.badMirror` unless `text` is an address of http, https or file without query or fragment.
    public init(_ text: String) throws(FetchUsageError) {
        guard let end = text.range(of: "://"),
            ["http", "https", "file"].contains(text[..<end.lowerBound].lowercased()),
            text[end.upperBound...].first.map({ text.lowercased().hasPrefix("file") || $0 != "/" }) ?? false,
            text.utf8.allSatisfy({ $0 > 32 && $0 < 127 && !"?#\"<>\\^`{|}".utf8.contains($0) })
        else { throw .badMirror(text) }
        base = text.hasSuffix("/") ? text : text + "/"
    }

    public var description: String { base }
}
