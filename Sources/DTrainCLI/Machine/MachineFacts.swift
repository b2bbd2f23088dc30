import DTrainEngine
import DTrainTensor
internal import COpenBLAS
import Foundation

/// What this machine and this process's place on it look like, read once.
package struct MachineFacts: Sendable, Equatable {
    var host = "localhost"
    var isRoot = false
    /// The path of mpirun, and the first line of `mpirun --version`; nil where it is not on the PATH.
    var mpirun: String?
    var mpirunVersion: String?
    /// Processors of this host that are online, hyper-threads included.
    var processors = 1
    /// Cores of this host, as mpirun counts slots.
    var cores = 1
    /// Processors that this process may run on.
    var allowedProcessors = 1
    /// The processors' worth of time that the control group grants; nil where it sets no limit.
    var quota: Double?
    /// Whether one process may not read another's memory, as in a container without that capability: Open MPI's
    /// shared-memory transport then fails unless told so.
    var restrictsMemoryAccess = false
    /// Processor features that choose kernels, as `/proc/cpuinfo` names them.
    var processorFeatures: Set<String> = []
    /// The name of OpenBLAS's kernels in use (`SkylakeX`) and its build.
    var blasCore = ""
    var blasConfiguration = ""
    /// oneDNN's version, nil in a build without it, and what this processor multiplies bf16 with.
    package var oneDNNVersion: String?
    package var bf16Units: String?
    var environment: [String: String] = [:]
    /// The program's path, and whether a shell finds it by its name alone.
    var program = "dtrain"
    var programIsOnPath = false

    package init() {}

    /// The threads that a rank computes with unless told otherwise.
    func threads(localRanks: Int) -> Int { max(1, Int(processors(localRanks: localRanks))) }

    /// The processors granted to this process, divided among the ranks of the host that share them.
    func processors(localRanks: Int) -> Double {
        // A rank that the launcher has bound shares its processors with nobody.
        let sharing = allowedProcessors < processors && LaunchEnvironment(environment).isBound ? 1 : max(1, localRanks)
        let shared = Double(allowedProcessors) / Double(sharing)
        return min(shared, (quota ?? .infinity) / Double(max(1, localRanks)))
    }

    static func gather() -> MachineFacts {
        var facts = MachineFacts()
        facts.environment = ProcessInfo.processInfo.environment
        facts.host = hostName()
        facts.isRoot = geteuid() == 0
        facts.mpirun = executable("mpirun") ?? executable("mpiexec")
        facts.processors = max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        let information = contents("/proc/cpuinfo")
        facts.cores = cores(information) ?? facts.processors
        facts.processorFeatures = features(information)
        let status = contents("/proc/self/status")
        facts.allowedProcessors = field("Cpus_allowed_list", of: status).map(countOfList) ?? facts.processors
        facts.quota = quota()
        let capabilities = field("CapEff", of: status).flatMap { UInt64($0, radix: 16) } ?? 0
        let mayTrace = capabilities & (1 << 19) != 0  // CAP_SYS_PTRACE
        facts.restrictsMemoryAccess = isInContainer() && !mayTrace
        facts.blasCore = String(cString: openblas_get_corename())
        facts.blasConfiguration = String(cString: openblas_get_config())
        facts.oneDNNVersion = OneDNN.version
        facts.bf16Units = Precision.bf16Units
        facts.program = programPath()
        let name = FilePath.name(of: facts.program)
        facts.programIsOnPath = executable(name).map { realPath($0) == realPath(facts.program) } ?? false
        return facts
    }

    /// The same with what only a child process can tell: `mpirun --version`.
    static func gatherAll() -> MachineFacts {
        var facts = gather()
        guard let mpirun = facts.mpirun else { return facts }
        let process = Process()
        let output = Pipe()
        process.executableURL = URL(fileURLWithPath: mpirun)
        process.arguments = ["--version"]
        process.standardOutput = output
        process.standardError = FileHandle.nullDevice
        guard (try? process.run()) != nil else { return facts }
        let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
        process.waitUntilExit()
        facts.mpirunVersion = text.split(separator: "\n").first.map(String.init)
        return facts
    }

    /// The path of a program that a shell would find under `name`.
    static func executable(_ name: String) -> String? {
        let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
        return path.split(separator: ":").lazy.map { "\($0)/\(name)" }
            .first { FileManager.default.isExecutableFile(atPath: $0) }
    }

    /// How a shell starts this program again: its name where the PATH has it, its path elsewhere.
    var programInShell: String {
        programIsOnPath ? FilePath.name(of: program) : shellQuoted(program)
    }

    private static func programPath() -> String {
        let invoked = CommandLine.arguments.first ?? "dtrain"
        if invoked.contains("/") { return absolutePath(invoked) }
        return executable(invoked) ?? realPath("/proc/self/exe")
    }

    private static func isInContainer() -> Bool {
        ["/.dockerenv", "/run/.containerenv"].contains { FileManager.default.fileExists(atPath: $0) }
            || ProcessInfo.processInfo.environment["container"] != nil
    }

    // MARK: Reading what Linux says (proc(5), cgroups(7))

    /// Distinct (socket, core) pairs of `/proc/cpuinfo`; nil where it does not tell (other architectures).
    static func cores(_ information: String) -> Int? {
        var pairs: Set<String> = []
        var socket = ""
        for line in information.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1).map { $0.filter { !$0.isWhitespace } }
            if parts.first == "physicalid" { socket = parts.last ?? "" }
            if parts.first == "coreid" { pairs.insert(socket + "/" + (parts.last ?? "")) }
        }
        return pairs.isEmpty ? nil : pairs.count
    }

    static func features(_ information: String) -> Set<String> {
        let line = information.split(separator: "\n").first { $0.hasPrefix("flags") || $0.hasPrefix("Features") }
        guard let line, let colon = line.firstIndex(of: ":") else { return [] }
        return Set(line[line.index(after: colon)...].split(separator: " ").map(String.init))
    }

    static func field(_ name: String, of status: String) -> String? {
        status.split(separator: "\n").first { $0.hasPrefix(name + ":") }
            .map { $0.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces) }
    }

    /// The number of processors in a list such as `0-3,8,10-11`.
    static func countOfList(_ list: String) -> Int {
        list.split(separator: ",").reduce(0) { count, part in
            let bounds = part.split(separator: "-").compactMap { Int($0) }
            guard let first = bounds.first, let last = bounds.last else { return count }
            return count + last - first + 1
        }
    }

    /// The smallest quota on the way from this process's control group to the root, version 2 or 1.
    private static func quota() -> Double? {
        var limits: [Double] = []
        for line in contents("/proc/self/cgroup").split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false)
            guard parts.count == 3 else { continue }
            let isVersion2 = parts[1].isEmpty
            guard isVersion2 || parts[1].split(separator: ",").contains("cpu") else { continue }
            let root = isVersion2 ? "/sys/fs/cgroup" : "/sys/fs/cgroup/cpu"
            var path = String(parts[2])
            while true {
                let folder = root + (path == "/" ? "" : path)
                let numbers =
                    isVersion2
                    ? contents(folder + "/cpu.max").split(whereSeparator: \.isWhitespace).map { Double($0) ?? -1 }
                    : [contents(folder + "/cpu.cfs_quota_us"), contents(folder + "/cpu.cfs_period_us")]
                        .map { Double($0.trimmingCharacters(in: .whitespacesAndNewlines)) ?? -1 }
                if numbers.count == 2, numbers[0] > 0, numbers[1] > 0 { limits.append(numbers[0] / numbers[1]) }
                if ["/", ".", ""].contains(path) { break }
                path = FilePath.parent(of: path)
            }
        }
        return limits.min()
    }

    private static func contents(_ path: String) -> String {
        (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }
}

/// The name of this machine, as messages give it.
func hostName() -> String {
    var name = [CChar](repeating: 0, count: 256)
    guard gethostname(&name, name.count - 1) == 0 else { return "localhost" }
    return String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

/// `path` from the root, without `.` and `..`.
func absolutePath(_ path: String) -> String { URL(fileURLWithPath: path).standardizedFileURL.path }

/// The path behind all symbolic links, where it exists.
func realPath(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }

/// `text` as one word of a POSIX shell.
func shellQuoted(_ text: String) -> String {
    let isPlain =
        !text.isEmpty
        && text.unicodeScalars.allSatisfy {
            switch $0 {
            case "a"..."z", "A"..."Z", "0"..."9", "_", "-", ".", "/", ":", ",", "=", "+", "@", "%": true
            default: false
            }
        }
    return isPlain ? text : "'" + text.replacingOccurrences(of: "'", with: "'\\''") + "'"
}
