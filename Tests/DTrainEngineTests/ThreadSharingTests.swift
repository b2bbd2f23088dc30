import DTrainEngine
import DTrainLayers
import DTrainTensor
import Testing

/// Threads that share a batch find what one alone does: they share samples, or lines where there are fewer samples than threads.
@Suite struct ThreadSharingTests {
    /// Batch-norms that their reader applies, residuals from another convolution and from the image itself, strides, both poolings.
    private final class Residuals: Module {
        let conv0 = Conv2d(8, kernel: 3, padding: 1)
        let norm0 = BatchNorm2d()
        let conv1 = Conv2d(16, kernel: 3, stride: 2, padding: 1)
        let norm1 = BatchNorm2d()
        let conv2 = Conv2d(16, kernel: 3, padding: 1)
        let norm2 = BatchNorm2d()
        let shortcut = Conv2d(16, kernel: 1, stride: 2)
        let shortcutNorm = BatchNorm2d()
        let conv3 = Conv2d(16, kernel: 3, padding: 1)
        let norm3 = BatchNorm2d()
        let conv4 = Conv2d(6, kernel: 5, padding: 2)
        let up = ConvTranspose2d(5, kernel: 3, stride: 2)
        let fc = DTrainLayers.Linear(4)

        func callAsFunction(_ x: Value) -> Value {
            let y = relu(norm0(conv0(x)))
            let z = relu(norm2(conv2(relu(norm1(conv1(y))))) + shortcutNorm(shortcut(y)))
            let u = tanh(conv4(relu(norm3(conv3(z)) + z)))
            let pooled = [maxPool(u, kernel: 3, stride: 2, padding: 1), averagePool(u, kernel: 2)]
            return fc(flatten(up(concatenate(pooled))))
        }
    }

    @Test(
        arguments: [ConvolutionMethod.byRule, .direct, .winograd, .unfolded, .oneDNN],
        [(7, 2), (5, 3), (2, 3), (1, 4), (4, 5)])
    func findWhatOneDoes(_ method: ConvolutionMethod, _ sharing: (rows: Int, threads: Int)) throws {
        let (rows, threads) = sharing
        let x = ReferenceTensor.random([rows, 12, 12, 3], seed: 8, in: -1...2)
        /// All gradients after a step.
        func gradients(threads: Int) throws -> ReferenceTensor {
            // Room for two samples a thread, with which readers apply batch-norms.
            let replica = try ConvolutionMethod.$ofModels.withValue(method) {
                try TestReplica(Residuals(), input: [12, 12, 3], capacity: 10, threads: threads)
            }
            // ReLU passes nearly all: none of its inputs is near zero, where rounding decides.
            for name in replica.parameterNames where name.contains("orm") && name.hasSuffix("bias") {
                replica[name] = ReferenceTensor(replica[name].shape, replica[name].values.map { _ in 3 })
            }
            replica.step(x, labels: (0..<rows).map { $0 % 4 })
            let values = replica.replica.gradients.array().map(Double.init)
            return ReferenceTensor([values.count], values)
        }
        expectMatches(
            try gradients(threads: threads), try gradients(threads: 1), tolerance: 1e-5, "\(rows) by \(threads)")
    }
}
