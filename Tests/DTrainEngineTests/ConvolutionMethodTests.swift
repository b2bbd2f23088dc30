import DTrainEngine
import Foundation
import Testing

/// The ways to compute a convolution check each other: outputs and all gradients agree over random geometries, with
/// padding beyond the kernel, images smaller than the window's reach, sequences, and results that lie in a slice of a
/// concatenation or are added to. A fifth of them give every channel a kernel of its own, and many of the others have groups.
/// Threads share samples, or lines where they are more than these, and must find what one alone does.
@Suite struct ConvolutionMethodTests {
    /// Geometries of a normal run; `DTRAIN_TEST_GEOMETRIES` asks for more.
    static let count = ProcessInfo.processInfo.environment["DTRAIN_TEST_GEOMETRIES"].flatMap(Int.init) ?? 3_000
    private static let parts = 4

    @Test(arguments: 0..<parts)
    func directAndUnfoldedAgree(part: Int) throws {
        try expectAgreement(.direct, stride(from: part, to: Self.count, by: Self.parts))
    }

    @Test(.enabled(if: OneDNN.version != nil), arguments: 0..<parts)
    func oneDNNAndUnfoldedAgree(part: Int) throws {
        let numbers = stride(from: part, to: Self.count, by: Self.parts)
        try expectAgreement(.oneDNN, numbers)
        // What oneDNN refused would have been computed in another way.
        let ways = try numbers.compactMap { RandomConvolution($0) }.flatMap {
            try Convolution(
                outputs: $0.outputs, geometry: $0.window, groups: $0.groups, hasBias: $0.hasBias, method: .oneDNN
            ).ways(input: $0.image, samples: $0.rows)
        }
        let taken = ways.filter { $0.hasPrefix("OneDNN") }.count
        #expect(taken > ways.count * 9 / 10, "oneDNN computed \(taken) of \(ways.count) products")
    }

    private func expectAgreement(
        _ method: ConvolutionMethod, _ numbers: StrideTo<Int>, _ kind: RandomConvolution.Kind = .any
    ) throws {
        var compared = 0
        for number in numbers {
            guard let convolution = RandomConvolution(number, kind) else { continue }
            compared += 1
            let results = try convolution.run(method).all
            for (name, expected) in try convolution.run(.unfolded, threads: 1).all {
                let difference = relativeDifference(results[name]!, expected)
                #expect(difference <= 1e-4, "number \(number): \(name) differs by \(difference); \(convolution)")
            }
        }
        #expect(compared > Array(numbers).count / 2)
    }

    @Test(arguments: 0..<parts)
    func unfoldingByManyThreadsAndByOneAgree(part: Int) throws {
        try expectAgreement(.unfolded, stride(from: part, to: Self.count, by: Self.parts))
    }

    /// Kernels of 3 × 3 and 5 × 5 with stride 1, and images of whole and of broken tiles.
    @Test(arguments: 0..<parts)
    func minimalFilteringAndUnfoldedAgree(part: Int) throws {
        try expectAgreement(.winograd, stride(from: part, to: Self.count, by: Self.parts), .tiles)
    }

    /// Kernels of 3 × 3 in groups of 4 and 8 channels: lines of whole and of broken tiles, and single pixels.
    @Test(arguments: 0..<parts)
    func smallGroupsAndUnfoldedAgree(part: Int) throws {
        try expectAgreement(.direct, stride(from: part, to: Self.count / 8, by: Self.parts), .smallGroups)
    }

    /// The largest difference, relative to the largest expected value; NaN counts as infinite.
    private func relativeDifference(_ actual: [Float], _ expected: [Float]) -> Float {
        guard actual.count == expected.count else { return .infinity }
        var (largest, difference) = (Float(1e-3), Float(0))
        for (a, e) in zip(actual, expected) {
            largest = max(largest, abs(e))
            difference = (a - e).isNaN ? .infinity : max(difference, abs(a - e))
        }
        return difference / largest
    }
}
