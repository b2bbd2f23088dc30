import DTrainCLI
import Testing

/// What `doctor` makes of machines that are not this one.
@Suite struct DiagnosisTests {
    func bf16(oneDNN version: String?, units: String?) throws -> Diagnosis.Finding {
        var facts = MachineFacts()
        facts.oneDNNVersion = version
        facts.bf16Units = units
        return try #require(Diagnosis(facts).findings.first { $0.topic == "bf16" })
    }

    @Test(arguments: ["AVX-512-BF16", "AMX"]) func bf16IsFasterWhereTheProcessorMultipliesIt(units: String) throws {
        let finding = try bf16(oneDNN: "2.6.3", units: units)
        #expect(finding.verdict == .fine && finding.remedy == nil)
        #expect(finding.detail == "oneDNN 2.6.3, \(units): --precision bf16 is faster than fp32 here")
    }

    @Test func bf16IsFasterInFewerLayersWithoutOneDNN() throws {
        let finding = try bf16(oneDNN: nil, units: "AVX-512-BF16")
        #expect(finding.verdict == .note && finding.remedy?.hasPrefix("install libdnnl-dev") == true)
        #expect(
            finding.detail
                == "built without oneDNN, AVX-512-BF16: --precision bf16 makes large linear and recurrent layers, "
                + "convolutions by minimal filtering and some weight gradients of others faster")
    }

    @Test func bf16IsNoFasterElsewhere() throws {
        let builds: [(version: String?, library: String)] = [("2.6.3", "oneDNN 2.6.3"), (nil, "built without oneDNN")]
        for (version, library) in builds {
            let finding = try bf16(oneDNN: version, units: nil)
            #expect(finding.verdict == .fine && finding.remedy == nil)
            #expect(
                finding.detail
                    == "\(library); neither AVX-512-BF16 nor AMX: fp32 is the faster precision here")
        }
    }
}
