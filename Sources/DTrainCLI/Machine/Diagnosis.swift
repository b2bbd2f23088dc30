import DTrainEngine
import DTrainReport

/// What `dtrain doctor` finds: one line about each part of the machine, and for each problem a remedy.
package struct Diagnosis: Sendable {
    package enum Verdict: String, Sendable {
        case fine = "ok"
        /// Works, but a person may want to know.
        case note
        case problem
    }

    package struct Finding: Sendable {
        package var topic: String
        package var verdict: Verdict
        package var detail: String
        package var remedy: String?
    }

    package let findings: [Finding]
    var hasProblem: Bool { findings.contains { $0.verdict == .problem } }

    package init(_ facts: MachineFacts) {
        findings = [
            Self.mpi(facts), Self.root(facts), Self.cores(facts), Self.affinity(facts), Self.slots(facts),
            Self.container(facts), Self.blas(facts), Self.bf16(facts), Self.path(facts),
        ]
    }

    /// The findings for people.
    var text: String {
        findings.map { finding in
            var line = finding.verdict.rawValue.padding(to: 9) + finding.topic.padding(to: 11) + finding.detail + "\n"
            if let remedy = finding.remedy { line += String(repeating: " ", count: 20) + "→ " + remedy + "\n" }
            return line
        }.joined()
    }

    var json: JSONObject {
        var object = JSONObject()
        object.add("ok", !hasProblem)
        object.add(
            "findings",
            findings.map { finding in
                var entry = JSONObject()
                entry.add("topic", finding.topic)
                entry.add("verdict", finding.verdict.rawValue)
                entry.add("detail", finding.detail)
                entry.add("remedy", finding.remedy)
                return entry
            })
        return object
    }

    private static func mpi(_ facts: MachineFacts) -> Finding {
        guard let mpirun = facts.mpirun else {
            return Finding(
                topic: "MPI", verdict: .problem, detail: "mpirun is not on the PATH",
                remedy: "apt-get install openmpi-bin, or add Open MPI's bin folder to the PATH")
        }
        return Finding(topic: "MPI", verdict: .fine, detail: "\(facts.mpirunVersion ?? "unknown version"), \(mpirun)")
    }

    private static func root(_ facts: MachineFacts) -> Finding {
        guard facts.isRoot else { return Finding(topic: "root", verdict: .fine, detail: "an ordinary user") }
        let names = ["OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"]
        if names.allSatisfy({ facts.environment[$0] == "1" }) || LaunchEnvironment(facts.environment).isLaunched {
            return Finding(topic: "root", verdict: .fine, detail: "root, and mpirun is told to accept it")
        }
        return Finding(
            topic: "root", verdict: .problem, detail: "you are root, and mpirun refuses to start for root",
            remedy: "source scripts/env.sh, or export \(names.map { $0 + "=1" }.joined(separator: " ")), "
                + "or use 'dtrain train --workers N', which needs neither")
    }

    private static func cores(_ facts: MachineFacts) -> Finding {
        let quota =
            facts.quota.map { "the control group grants \(Formatting.decimal($0, 1)) of them" }
            ?? "no control-group limit"
        let detail =
            "\(Formatting.count(facts.cores, "core")), \(Formatting.count(facts.processors, "processor")), \(quota)"
        let launch = LaunchEnvironment(facts.environment)
        if let quota = facts.quota, let local = launch.localSize, Double(local) > quota.rounded(.up) {
            return Finding(
                topic: "cores", verdict: .note, detail: detail + "; \(local) ranks share them",
                remedy: "start at most \(max(1, Int(quota))) ranks here, or grant the container more")
        }
        return Finding(topic: "cores", verdict: .fine, detail: detail)
    }

    private static func affinity(_ facts: MachineFacts) -> Finding {
        let launch = LaunchEnvironment(facts.environment)
        let allowed = facts.allowedProcessors
        let mine = "this process may use \(allowed) of \(Formatting.count(facts.processors, "processor"))"
        let share = facts.processors / max(1, launch.localSize ?? 1)
        guard allowed < facts.processors, allowed < share else {
            return Finding(topic: "affinity", verdict: .fine, detail: mine)
        }
        if launch.isLaunched {
            return Finding(
                topic: "affinity", verdict: .problem,
                detail: "mpirun bound this rank: \(mine), and its share would be \(share)",
                remedy: "mpirun --bind-to none, or source scripts/env.sh, or 'dtrain train --workers N'")
        }
        return Finding(
            topic: "affinity", verdict: .note, detail: mine + " (taskset, a batch system or a cpuset)",
            remedy: "ask the batch system for more processors if you need them")
    }

    private static func slots(_ facts: MachineFacts) -> Finding {
        let oversubscribes = ["1", "true", "yes"].contains(
            facts.environment["OMPI_MCA_rmaps_base_oversubscribe"]?.lowercased() ?? "")
        if oversubscribes {
            return Finding(
                topic: "slots", verdict: .fine,
                detail: "\(facts.cores), and mpirun is told to start more ranks than that")
        }
        return Finding(
            topic: "slots", verdict: .note,
            detail: "mpirun starts at most \(Formatting.count(facts.cores, "rank")) on this host",
            remedy:
                "for more ranks than cores: mpirun --oversubscribe, or source scripts/env.sh, or 'dtrain train --workers N'"
        )
    }

    private static func container(_ facts: MachineFacts) -> Finding {
        guard facts.restrictsMemoryAccess else {
            return Finding(topic: "memory", verdict: .fine, detail: "ranks of this host may read each other's memory")
        }
        if facts.environment["OMPI_MCA_btl_vader_single_copy_mechanism"] == "none" {
            return Finding(
                topic: "memory", verdict: .fine, detail: "a container; Open MPI copies through shared memory")
        }
        return Finding(
            topic: "memory", verdict: .problem, detail: "a container in which ranks may not read each other's memory",
            remedy: "source scripts/env.sh (it sets OMPI_MCA_btl_vader_single_copy_mechanism=none), "
                + "or start the container with --cap-add SYS_PTRACE")
    }

    private static func blas(_ facts: MachineFacts) -> Finding {
        let detail = "\(facts.blasConfiguration.trimmed), kernels \(facts.blasCore)"
        let best = BLASKernels.widest(for: facts.processorFeatures)
        let forced = facts.environment["OPENBLAS_CORETYPE"].flatMap { $0.isEmpty ? nil : $0 }
        if let used = BLASKernels.width(of: facts.blasCore), let best, used < best {
            let waste = "\(detail); they use vectors of \(used) bits where this processor has \(best)"
            if let forced {
                return Finding(
                    topic: "BLAS", verdict: .problem, detail: "\(waste), because OPENBLAS_CORETYPE is '\(forced)'",
                    remedy: "unset OPENBLAS_CORETYPE")
            }
            return Finding(
                topic: "BLAS", verdict: .note, detail: waste,
                remedy: "a newer OpenBLAS may know this processor; "
                    + "try OPENBLAS_CORETYPE=\(BLASKernels.example(ofWidth: best)) and compare with 'dtrain bench'")
        }
        if let forced {
            return Finding(
                topic: "BLAS", verdict: .note, detail: "\(detail), chosen by OPENBLAS_CORETYPE='\(forced)'",
                remedy: "unset OPENBLAS_CORETYPE unless you measured that it helps")
        }
        return Finding(topic: "BLAS", verdict: .fine, detail: detail)
    }

    private static func bf16(_ facts: MachineFacts) -> Finding {
        let library = facts.oneDNNVersion.map { "oneDNN \($0)" } ?? "built without oneDNN"
        guard let units = facts.bf16Units else {
            return Finding(
                topic: "bf16", verdict: .fine,
                detail: "\(library); neither AVX-512-BF16 nor AMX: fp32 is the faster precision here")
        }
        guard facts.oneDNNVersion != nil else {
            return Finding(
                topic: "bf16", verdict: .note,
                detail: "\(library), \(units): --precision bf16 makes \(Precision.bf16Layers(hasOneDNN: false)) faster",
                remedy: "install libdnnl-dev and build without --disable-default-traits")
        }
        return Finding(
            topic: "bf16", verdict: .fine,
            detail: "\(library), \(units): --precision bf16 is faster than fp32 here")
    }

    private static func path(_ facts: MachineFacts) -> Finding {
        if facts.programIsOnPath {
            return Finding(topic: "program", verdict: .fine, detail: "\(facts.program), on the PATH")
        }
        return Finding(
            topic: "program", verdict: .note,
            detail: "\(facts.program) is not on the PATH, so 'mpirun dtrain' does not find it",
            remedy: "scripts/build.sh puts it there, or give mpirun the whole path")
    }
}

/// OpenBLAS's kernel families by the vectors they use.
enum BLASKernels {
    /// The width in bits; nil for a family that is not known here.
    static func width(of core: String) -> Int? {
        switch core.lowercased() {
        case "skylakex", "cooperlake", "sapphirerapids": 512
        case "haswell", "zen", "excavator": 256
        // 256-bit vectors without fused multiply-add are worth as much as half of them with it.
        case "sandybridge", "bulldozer", "piledriver", "steamroller": 128
        case "prescott", "core2", "nehalem", "dunnington", "penryn", "athlon", "opteron", "opteron_sse3", "barcelona",
            "bobcat", "atom", "nano", "katmai", "coppermine", "northwood", "banias":
            128
        default: nil
        }
    }

    /// The widest that a processor with these features can use; nil where that is not known.
    static func widest(for features: Set<String>) -> Int? {
        if features.isSuperset(of: ["avx512f", "avx512bw", "avx512dq", "avx512vl"]) { return 512 }
        if features.isSuperset(of: ["avx2", "fma"]) { return 256 }
        return features.contains("sse2") ? 128 : nil
    }

    static func example(ofWidth width: Int) -> String {
        width >= 512 ? "SkylakeX" : width >= 256 ? "Haswell" : "Nehalem"
    }
}

extension String {
    /// With spaces up to `width` characters.
    func padding(to width: Int) -> String { self + String(repeating: " ", count: max(1, width - count)) }

    var trimmed: String { String(drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed()) }
}
