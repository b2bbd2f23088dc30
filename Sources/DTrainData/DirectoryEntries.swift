#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// The names in a directory, without those that begin with a point, in no order.
func directoryEntries(_ directory: [UInt8]) throws(DataError) -> [[UInt8]] {
    let path = (directory + [0]).map { CChar(bitPattern: $0) }
    guard let stream = opendir(path) else {
        throw .unreadable(path: String(decoding: directory, as: UTF8.self), reason: errorText())
    }
    defer { closedir(stream) }
    var names: [[UInt8]] = []
    while true {
        errno = 0
        guard let entry = readdir(stream) else { break }
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
        if name.first != UInt8(ascii: ".") { names.append(name) }
    }
    guard errno == 0 else {
        throw .unreadable(path: String(decoding: directory, as: UTF8.self), reason: errorText())
    }
    return names
}
