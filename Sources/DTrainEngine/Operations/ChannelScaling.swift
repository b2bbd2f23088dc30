package import DTrainTensor

/// y = scale[c] · x + shift[c] with constants for each channel c.
package struct ChannelScaling: Operation {
    package let scale: [Float]
    package let shift: [Float]

    package init(scale: [Float], shift: [Float]) {
        self.scale = scale
        self.shift = shift
    }

    package var name: String { "scaleChannels" }

    package func outputShape(_ inputs: [Shape]) throws -> Shape {
        let channels = inputs[0].dimensions.last ?? 1
        guard scale.count == channels, shift.count == channels else {
            throw ShapeMismatch("\(scale.count) scales and \(shift.count) shifts for \(channels) channels")
        }
        return inputs[0]
    }
    package func kernel(_ site: Site) -> any Kernel { ChannelScalingKernel(self, site) }
}

private final class ChannelScalingKernel: Kernel {
    private let operation: ChannelScaling
    private let site: Site

    init(_ operation: ChannelScaling, _ site: Site) {
        self.operation = operation
        self.site = site
    }

    func forward(_ run: Run) {
        let (x, y) = (run.pointer(site.inputs[0]), run.pointer(site.output))
        let channels = site.output.channels
        for pixel in run.part(of: run.rows * site.output.pixels) {
            for channel in 0..<channels {
                let index = pixel * channels + channel
                y[index] = operation.scale[channel] * x[index] + operation.shift[channel]
            }
        }
    }

    func backward(_ run: Run) {
        guard let gradient = site.inputGradients[0] else { return }
        let (dy, dx) = (run.pointer(site.outputGradient!), run.pointer(gradient.place))
        let channels = site.output.channels
        for pixel in run.part(of: run.rows * site.output.pixels) {
            for channel in 0..<channels {
                let index = pixel * channels + channel
                let value = operation.scale[channel] * dy[index]
                dx[index] = gradient.accumulate ? dx[index] + value : value
            }
        }
    }
}
