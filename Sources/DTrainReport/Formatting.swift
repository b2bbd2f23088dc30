import Foundation

/// Numbers as people read them.
package enum Formatting {
    /// `1,234,567`.
    package static func whole(_ value: Int) -> String {
        let digits = String(value.magnitude)
        var grouped = ""
        for (index, digit) in digits.enumerated() {
            if index > 0, (digits.count - index) % 3 == 0 { grouped += "," }
            grouped.append(digit)
        }
        return (value < 0 ? "-" : "") + grouped
    }

    /// A rate: whole above 100, one decimal below.
    package static func rate(_ value: Double) -> String {
        guard value.isFinite else { return "–" }
        return value >= 100 ? whole(Int(value.rounded())) : decimal(value, 1)
    }

    /// With a fixed number of decimals.
    package static func decimal(_ value: Double, _ decimals: Int) -> String {
        String(format: "%.\(decimals)f", value)
    }

    /// `98.12 %`; rounded down, so that 100.00 % means every one.
    package static func percent(_ part: Int, of whole: Int) -> String {
        guard whole > 0 else { return "–" }
        // In whole hundredths: 569 of 1,000 are 56.90 %, and not what 0.569 is in binary.
        return decimal(Double(part * 10_000 / whole) / 100, 2) + " %"
    }

    /// A probability: `71.35 %`.
    package static func percent(_ fraction: Double) -> String { decimal(fraction * 100, 2) + " %" }

    /// `0:07`, `12:34`, `1:02:03`: hours, minutes and seconds, for a countdown.
    package static func clock(_ seconds: Double) -> String {
        guard seconds.isFinite, seconds < 1e7 else { return "–" }
        let total = Int(max(0, seconds).rounded())
        let minutesAndSeconds = String(format: "%02d", total % 60)
        return total >= 3600
            ? "\(total / 3600):" + String(format: "%02d", total / 60 % 60) + ":" + minutesAndSeconds
            : "\(total / 60):" + minutesAndSeconds
    }

    /// `0.34 s`, `12.3 s`, `2 min 05 s`, `1 h 02 min`.
    package static func duration(_ seconds: Double) -> String {
        guard seconds.isFinite else { return "–" }
        if seconds < 9.995 { return decimal(seconds, 2) + " s" }
        if seconds < 59.95 { return decimal(seconds, 1) + " s" }
        let total = Int(seconds.rounded())
        if total < 3600 { return "\(total / 60) min " + String(format: "%02d", total % 60) + " s" }
        return "\(total / 3600) h " + String(format: "%02d", total / 60 % 60) + " min"
    }

    /// `512 B`, `87.4 kB`, `1.2 MB`, in powers of 1000.
    package static func bytes(_ count: Int) -> String {
        var value = Double(count)
        var unit = 0
        let units = ["B", "kB", "MB", "GB", "TB"]
        while value >= 999.95, unit < units.count - 1 {
            value /= 1000
            unit += 1
        }
        return (unit == 0 ? "\(count)" : decimal(value, 1)) + " \(units[unit])"
    }

    /// `1 step`, `2 steps`.
    package static func count(_ number: Int, _ noun: String) -> String {
        "\(whole(number)) \(noun)\(number == 1 ? "" : "s")"
    }
}
