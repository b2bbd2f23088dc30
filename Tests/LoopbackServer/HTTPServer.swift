import Foundation
import Synchronization

/// A small HTTP/1.1 server on 127.0.0.1 whose answers a test decides, bad ones too. It lives until `stop` or the
/// process's end, however short a test holds it.
public final class HTTPServer: Sendable {
    public struct Request: Sendable {
        public let method: String
        /// The path; a whole address where the server is used as a proxy.
        public let target: String
        /// Names in lower case.
        public let headers: [String: String]

        /// The first byte that a header `Range: bytes=N-` asks for.
        public var rangeStart: Int? {
            headers["range"].flatMap { value in
                value.hasPrefix("bytes=") && value.hasSuffix("-") ? Int(value.dropFirst(6).dropLast()) : nil
            }
        }
    }

    public struct Response: Sendable {
        public var status = 200
        public var headers: [String: String] = [:]
        public var body: [UInt8] = []
        /// What `Content-Length` says; by default the truth. Nil with `isChunked` or for an end by closing.
        public var declaredLength: Int?
        public var isChunked = false
        /// Closes the connection after so many bytes of the body.
        public var cutAfter: Int?
        /// Sends nothing more for so long after the body, or the part of it before the cut.
        public var stallSeconds = 0.0

        public init(status: Int = 200, headers: [String: String] = [:], body: [UInt8] = []) {
            self.status = status
            self.headers = headers
            self.body = body
            declaredLength = body.count
        }

        /// A file as a sound server sends it, from the byte that the request asks for.
        public static func file(_ bytes: [UInt8], _ request: Request) -> Response {
            guard let start = request.rangeStart else { return Response(body: bytes) }
            guard start < bytes.count else {
                return Response(status: 416, headers: ["Content-Range": "bytes */\(bytes.count)"])
            }
            let range = "bytes \(start)-\(bytes.count - 1)/\(bytes.count)"
            return Response(status: 206, headers: ["Content-Range": range], body: Array(bytes[start...]))
        }

        public func cut(after count: Int) -> Response {
            var response = self
            response.cutAfter = count
            return response
        }
    }

    private struct Log {
        var requests: [Request] = []
        var bodyBytes = 0
    }

    public let port: Int
    private let listener: Int32
    private let respond: @Sendable (Request, Int) -> Response
    private let log = Mutex(Log())

    public var address: String { "http://127.0.0.1:\(port)/" }
    public var requests: [Request] { log.withLock { $0.requests } }
    /// Bytes of bodies that were sent.
    public var bodyBytes: Int { log.withLock { $0.bodyBytes } }

    /// - Parameter respond: answers a request; the number counts the requests from 0.
    public init(_ respond: @escaping @Sendable (Request, Int) -> Response) throws {
        self.respond = respond
        let listener = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_addr.s_addr = UInt32(0x7F00_0001).bigEndian
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        let status = withUnsafeMutablePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer in
                bind(listener, pointer, length) != 0 || listen(listener, 16) != 0
                    || getsockname(listener, pointer, &length) != 0
            }
        }
        guard !status else { throw POSIXError(POSIXErrorCode(rawValue: errno) ?? .EIO) }
        self.listener = listener
        port = Int(UInt16(bigEndian: address.sin_port))
        Thread.detachNewThread { [self] in
            while true {
                let connection = accept(listener, nil, nil)
                if connection < 0, errno == EINTR || errno == ECONNABORTED { continue }
                guard connection >= 0 else { break }
                Thread.detachNewThread {
                    self.serve(connection)
                    close(connection)
                }
            }
            close(listener)
        }
    }

    /// Lets nobody in any more.
    public func stop() { shutdown(listener, Int32(SHUT_RDWR)) }

    private func serve(_ connection: Int32) {
        var received: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 4096)
        while !received.suffix(4).elementsEqual("\r\n\r\n".utf8) {
            let count = recv(connection, &chunk, chunk.count, 0)
            guard count > 0 else { return }
            received += chunk[..<count]
            // No letter begins a request of TLS.
            guard received[0] >= UInt8(ascii: "A") else { return }
        }
        let lines = String(decoding: received, as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ").map(String.init) ?? []
        guard words.count == 3 else { return }
        var headers: [String: String] = [:]
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2 else { continue }
            headers[parts[0].lowercased()] = parts[1].trimmingCharacters(in: .whitespaces)
        }
        let request = Request(method: words[0], target: words[1], headers: headers)
        let number = log.withLock {
            $0.requests.append(request)
            return $0.requests.count - 1
        }
        send(respond(request, number), on: connection)
    }

    private func send(_ response: Response, on connection: Int32) {
        var head = "HTTP/1.1 \(response.status) Status\r\nConnection: close\r\n"
        if response.isChunked {
            head += "Transfer-Encoding: chunked\r\n"
        } else if let length = response.declaredLength {
            head += "Content-Length: \(length)\r\n"
        }
        for (name, value) in response.headers { head += "\(name): \(value)\r\n" }
        guard write(Array((head + "\r\n").utf8), on: connection) else { return }
        let body = response.cutAfter.map { Array(response.body.prefix($0)) } ?? response.body
        if response.isChunked {
            for start in stride(from: 0, to: body.count, by: 1000) {
                let part = body[start..<min(start + 1000, body.count)]
                let framed = Array((String(part.count, radix: 16) + "\r\n").utf8) + part + Array("\r\n".utf8)
                guard write(framed, on: connection) else { return }
            }
            if response.cutAfter == nil { guard write(Array("0\r\n\r\n".utf8), on: connection) else { return } }
        } else {
            guard write(body, on: connection) else { return }
        }
        log.withLock { $0.bodyBytes += body.count }
        if response.stallSeconds > 0 { usleep(UInt32(response.stallSeconds * 1e6)) }
    }

    private func write(_ bytes: [UInt8], on connection: Int32) -> Bool {
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes {
                Glibc.send(connection, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            rest = rest.dropFirst(count)
        }
        return true
    }
}
