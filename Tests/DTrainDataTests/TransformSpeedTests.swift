import DTrainData
import DTrainTensor
import Foundation
import Testing

/// Prints how fast transforms are on one thread, where DTRAIN_BENCHMARK is set: for a look, not for a verdict.
@Suite(.enabled(if: ProcessInfo.processInfo.environment["DTRAIN_BENCHMARK"] != nil), .serialized)
struct TransformSpeedTests {
    /// The processor's seconds of one call, the least of five rounds.
    private func seconds(_ count: Int, _ body: (Int) -> Void) -> Double {
        func now() -> Double {
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            return Double(time.tv_sec) + Double(time.tv_nsec) * 1e-9
        }
        return (0..<5).map { _ in
            let start = now()
            for index in 0..<count { body(index) }
            return (now() - start) / Double(count)
        }.min()!
    }

    private func print(_ name: String, _ seconds: Double, pixels: Int) {
        let rate = Int(1 / seconds)
        Swift.print("\(name): \(Int(seconds * 1e9)) ns, \(seconds * 1e9 / Double(pixels)) ns a pixel, \(rate) a second")
    }

    @Test func resizing() {
        let result = PixelBuffer()
        for channels in [1, 3] {
            for (height, width, newHeight, newWidth) in [
                (375, 500, 256, 341), (375, 500, 224, 224), (32, 32, 224, 224), (1500, 2000, 256, 341),
            ] {
                let image = pattern(height, width, channels)
                let time = seconds(height > 1000 ? 10 : 50) { _ in
                    resizeBilinear(image, height: newHeight, width: newWidth, into: result)
                }
                print(
                    "resize \(height)×\(width)×\(channels) to \(newHeight)×\(newWidth), per source pixel", time,
                    pixels: height * width)
            }
        }
    }

    @Test func presets() throws {
        for (family, height, width, count) in [(PresetFamily.imagenet, 375, 500, 200), (.cifar, 32, 32, 20_000)] {
            let image = pattern(height, width, 3)
            let pipeline = try TransformPipeline(
                [.preset], family: family, sampleShape: image.shape, sizesMayDiffer: family == .imagenet,
                normalisation: Normalisation(mean: [0.5, 0.5, 0.5], standardDeviation: [1, 1, 1]), seed: 0)
            var one = PixelBuffer(), other = PixelBuffer()
            let time = seconds(count) { sample in
                one.resize(to: image.shape)
                one.bytes.copy(from: image.bytes)
                for (position, transform) in pipeline.training.enumerated() {
                    let random = SampleRandom(seed: 0, epoch: 0, sample: sample, transform: position)
                    transform.apply(one, into: other, random: random)
                    swap(&one, &other)
                }
            }
            print("\(family) training preset on \(height)×\(width)", time, pixels: height * width)
        }
    }

    @Test func colors() {
        let image = pattern(224, 224, 3), result = PixelBuffer()
        let transforms: [any Transform] = [
            ColorJitter(brightness: 0.4, contrast: 0, saturation: 0),
            ColorJitter(brightness: 0, contrast: 0.4, saturation: 0),
            ColorJitter(brightness: 0, contrast: 0, saturation: 0.4),
            ColorJitter(brightness: 0, contrast: 0, saturation: 0, hue: 0.1), TrivialAugment(),
            RandomRotation(degrees: 30),
        ]
        for transform in transforms {
            let time = seconds(40) { sample in transform.apply(image, into: result, random: draws(sample)) }
            print("\(transform) on 224×224", time, pixels: 224 * 224)
        }
    }
}
