/// scale[c] · x + shift[c] for each channel c, with one constant a channel; they are no parameters.
public func scaleChannels(_ x: Value, by scale: [Float], adding shift: [Float]) -> Value {
    x.applying(ChannelScaling(scale: scale, shift: shift))
}
