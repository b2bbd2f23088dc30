import ArgumentParser
import DTrainFetch
import DTrainReport
import Foundation
import DTrainTensor

struct DataFetchCommand<Program: TrainingProgram>: ParsableCommand {
    static var configuration: CommandConfiguration {
        CommandConfiguration(
            commandName: "fetch",
            abstract: "Download a data set or pretrained weights.",
            discussion: """
                Names: \(RemoteDataset.all.map(\.name).joined(separator: ", ")), and weights:MODEL for weights that \
                torchvision trained on ImageNet, such as weights:resnet50 or weights:resnet50@IMAGENET1K_V2.

                Every file is checked against its published checksum. One that is there already stays; one that came \
                in part is gone on with. A mirror holds the files of the official addresses under the same names, side \
                by side: URL/train-images-idx3-ubyte.gz, URL/cifar-10-binary.tar.gz, URL/resnet50-0676ba61.pth.
                """)
    }

    @Argument(help: "What to download.")
    var name: String
    @Option(
        help: ArgumentHelp(
            "The folder to put it in. Default data/NAME; for weights the cache, where --init pretrained looks "
                + "(DTRAIN_CACHE, or dtrain in XDG_CACHE_HOME or ~/.cache).", valueName: "dir"))
    var output: String?
    @Option(
        help: ArgumentHelp(
            "Another place to download from: an address of http, https or file.", valueName: "url"))
    var mirror: String?

    func run() throws {
        guard LaunchEnvironment().speaks else { return }
        let mirror = try mirror.map { try Mirror($0) }
        if output == "" { throw UsageError("--output '' is not valid: give a folder.") }
        let weightsPrefix = "weights:"
        let progress = FetchReporter(terminal: Terminal.watchingStandardError())
        if name.hasPrefix(weightsPrefix) {
            let weights = try PretrainedWeights.named(String(name.dropFirst(weightsPrefix.count)))
            let path = try weights.locate(
                in: output, environment: ProcessInfo.processInfo.environment, mirror: mirror,
                report: progress.receive)
            Console.result("\(path)\nnow: \(Program.name) train --model \(weights.model) --init \(quoted(path))\n")
        } else {
            let dataset = try RemoteDataset.named(name)
            let folder = try dataset.fetch(
                into: output ?? "data/\(dataset.name)", mirror: mirror, report: progress.receive)
            Console.result("\(folder)\nnow: \(Program.name) train --data \(quoted("\(dataset.name):\(folder)"))\n")
        }
    }

    /// As a shell takes it for one word.
    private func quoted(_ word: String) -> String {
        let plain = word.utf8.allSatisfy { byte in
            byte > 127 || "/._-:@%+=,".utf8.contains(byte) || UnicodeScalar(byte).properties.isAlphabetic
                || 48...57 ~= byte
        }
        return plain ? word : "'" + word.replacingOccurrences(of: "'", with: "'\\''") + "'"
    }
}

/// Tells on standard error how a download goes: a line redrawn in place on a terminal, elsewhere a line every ten
/// seconds.
final class FetchReporter {
    private let terminal: Terminal?
    private var lineIsDrawn = false
    private var lastLine = monotonicSeconds()

    init(terminal: Terminal?) { self.terminal = terminal }

    func receive(_ event: FetchEvent) {
        switch event {
        case .present(let path): say("\(path) is there already")
        case .waiting(let path): say("another process is fetching \(path); waiting for it")
        case .started(let address, let kept):
            say(address + (kept > 0 ? ", after \(Formatting.bytes(kept)) that are here" : ""))
        case .progress(let progress): show(progress)
        case .retrying(let failure, let seconds):
            say("\(failure)\ntrying again in \(Formatting.duration(seconds))")
        case .nextAddress(let error): say("\(error)\ntrying the next address")
        case .startingOver(let address): say("what is here does not belong to \(address); starting over")
        case .fetched(let path, let byteCount, let seconds):
            say("\(path): \(Formatting.bytes(byteCount)) in \(Formatting.duration(seconds)), checksum right")
        case .unpacking(let path, let folder): say("unpacking \(path) into \(folder)")
        }
    }

    private func show(_ progress: FetchProgress) {
        let name = progress.path.split(separator: "/").last ?? ""
        var text = "\(name): \(Formatting.bytes(progress.received))"
        if let total = progress.total {
            text += " of \(Formatting.bytes(total)) (\(Formatting.percent(progress.received, of: total)))"
        }
        text += ", \(Formatting.bytes(Int(progress.bytesPerSecond)))/s"
        if let total = progress.total, progress.bytesPerSecond > 0 {
            text += ", \(Formatting.clock(Double(total - progress.received) / progress.bytesPerSecond)) left"
        }
        if let terminal {
            Console.diagnostic("\r\u{1B}[K" + text.prefix(terminal.columns - 1))
            lineIsDrawn = true
        } else if monotonicSeconds() - lastLine >= 10 {
            say(text)
        }
    }

    private func say(_ text: String) {
        if lineIsDrawn { Console.diagnostic("\r\u{1B}[K") }
        lineIsDrawn = false
        lastLine = monotonicSeconds()
        Console.diagnostic(text + "\n")
    }
}
