#if canImport(Glibc)
    import Glibc
#elseif canImport(Musl)
    import Musl
#endif

/// Nanoseconds of a clock that never jumps and is the same for all processes of a machine.
package func monotonicNanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// The same in seconds.
package func monotonicSeconds() -> Double { Double(monotonicNanoseconds()) * 1e-9 }
