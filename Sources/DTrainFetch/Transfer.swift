internal import CCurlShim

/// Who takes the bytes of a transfer.
protocol TransferSink: AnyObject {
    /// Called before the first byte, which has place `firstByte` in a file of `total` bytes; false stops the transfer.
    func begin(firstByte: Int, total: Int?) -> Bool
    /// Called with each run of bytes; false stops the transfer.
    func receive(_ bytes: UnsafeRawBufferPointer) -> Bool
}

/// One attempt to get the bytes of an address.
enum Transfer {
    enum Ending {
        case done
        /// The sink said so, and knows why.
        case stopped
        case failed(TransferFailure.Kind, detail: String)
    }

    /// Hands the bytes of `address` from `offset` on to `sink`, as they come. Blocks.
    static func run(_ address: String, from offset: Int, policy: FetchPolicy, into sink: any TransferSink) -> Ending {
        let box = SinkBox(sink)
        var callbacks = dt_transfer_sink()
        callbacks.context = Unmanaged.passUnretained(box).toOpaque()
        callbacks.begin = { context, response in
            let sink = Unmanaged<SinkBox>.fromOpaque(context!).takeUnretainedValue().sink
            let total = response.total < 0 ? nil : Int(response.total)
            return sink.begin(firstByte: Int(response.first_byte), total: total) ? 0 : 1
        }
        callbacks.receive = { context, bytes, count in
            let sink = Unmanaged<SinkBox>.fromOpaque(context!).takeUnretainedValue().sink
            return sink.receive(UnsafeRawBufferPointer(start: bytes, count: count)) ? 0 : 1
        }
        let result = withExtendedLifetime(box) {
            dt_transfer(address, Int64(offset), policy.connectSeconds, policy.stallSeconds, callbacks)
        }
        let detail = withUnsafeBytes(of: result.message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        return switch result.ending {
        case DT_TRANSFER_DONE: .done
        case DT_TRANSFER_STOPPED: .stopped
        case DT_TRANSFER_NO_LIBRARY: .failed(.noLibrary, detail: detail)
        case DT_TRANSFER_ADDRESS: .failed(.badAddress, detail: detail)
        case DT_TRANSFER_HOST_NOT_FOUND: .failed(.hostNotFound, detail: detail)
        case DT_TRANSFER_NO_CONNECTION: .failed(.noConnection, detail: detail)
        case DT_TRANSFER_TLS: .failed(.untrusted, detail: detail)
        case DT_TRANSFER_TIMEOUT: .failed(.timeout, detail: detail)
        case DT_TRANSFER_CUT: .failed(.cut, detail: detail)
        case DT_TRANSFER_STATUS: .failed(.status(result.status), detail: detail)
        case DT_TRANSFER_REDIRECTS: .failed(.redirects, detail: detail)
        case DT_TRANSFER_NO_SUCH_FILE: .failed(.noSuchFile, detail: detail)
        case DT_TRANSFER_RANGE: .failed(.badRange, detail: detail)
        default: .failed(.other, detail: detail)
        }
    }
}

/// What the C side points to.
private final class SinkBox {
    let sink: any TransferSink
    init(_ sink: any TransferSink) { self.sink = sink }
}
