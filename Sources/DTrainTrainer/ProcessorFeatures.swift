import Foundation

/// The features of this machine's processor that choose kernels, and so decide the last bits of a result.
func processorFeatures() -> [String] {
    let known: Set<String> = [
        "sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "avx512_vnni",
        "avx512_bf16", "amx_bf16", "amx_tile", "asimd", "asimdhp", "sve", "sve2", "bf16",
    ]
    guard let text = try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8) else { return [] }
    let line = text.split(separator: "\n").first { $0.hasPrefix("flags") || $0.hasPrefix("Features") }
    let words = line?.split(separator: ":").last?.split(separator: " ").map(String.init) ?? []
    return Set(words).intersection(known).sorted()
}
