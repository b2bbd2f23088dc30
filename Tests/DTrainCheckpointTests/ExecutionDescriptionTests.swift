import DTrainCheckpoint
import Foundation
import Testing

/// What a resume warns of.
@Suite struct ExecutionDescriptionTests {
    private func description(_ hosts: [Int], compresses: Bool = false) -> ExecutionDescription {
        ExecutionDescription(
            ranks: hosts.count, threadsPerRank: 1, processorFeatures: [], hosts: hosts, compresses: compresses)
    }

    /// Where each host has the same power of two of consecutive ranks, sums are those of one host.
    @Test(arguments: [[0, 0, 0, 0], [0, 0, 2, 2], [0, 1, 2, 3], [7, 7, 5, 5]])
    func equalBlocksAreOneOrder(hosts: [Int]) {
        #expect(description(hosts).differences(from: description([0, 0, 0, 0])).isEmpty)
    }

    @Test(arguments: [[0, 1, 0, 1], [0, 0, 0, 3], [0, 1, 1, 0], [0, 1, 2, 2]])
    func otherPlacesAreAnother(hosts: [Int]) {
        let differences = description(hosts).differences(from: description([0, 0, 0, 0]))
        let text = hosts.map(String.init).joined(separator: " ")
        #expect(differences == ["ranks on the hosts \(text) then, in equal blocks now"])
    }

    @Test func threeRanksOnOneHostAreAddedAsOnThree() {
        #expect(description([0, 0, 0]).differences(from: description([0, 1, 2])).isEmpty)
        #expect(!description([0, 0, 2]).differences(from: description([0, 1, 2])).isEmpty)
        #expect(!description([0, 0, 0, 3, 3, 3]).differences(from: description([0, 0, 0, 0, 0, 0])).isEmpty)
    }

    @Test func compressedSumsDependOnHosts() {
        let (two, four) = (description([0, 0, 2, 2], compresses: true), description([0, 1, 2, 3], compresses: true))
        #expect(two.differences(from: four) == ["ranks on the hosts 0 0 2 2 then, 0 1 2 3 now"])
        #expect(two.differences(from: two).isEmpty)
    }

    @Test func otherKernelsGiveOtherBits() {
        func description(_ libraries: [String]?) -> ExecutionDescription {
            ExecutionDescription(ranks: 1, threadsPerRank: 1, processorFeatures: [], libraries: libraries)
        }
        let (both, one) = (description(["oneDNN 2.6.3", "OpenBLAS Zen"]), description(["OpenBLAS Haswell"]))
        #expect(
            both.differences(from: one) == ["products by oneDNN 2.6.3, OpenBLAS Zen then, OpenBLAS Haswell now"])
        #expect(both.differences(from: both).isEmpty)
        #expect(description(nil).differences(from: both).isEmpty)
    }

    @Test func checkpointsWithoutHostsAreRead() throws {
        let old = #"{"ranks": 2, "threads_per_rank": 1, "processor_features": []}"#
        let read = try JSONDecoder().decode(ExecutionDescription.self, from: Data(old.utf8))
        #expect(read == description([0, 0]))
    }
}
