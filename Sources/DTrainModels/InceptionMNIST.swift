public import DTrainLayers

/// Four views of the same image side by side: 1×1, 5×5, two 3×3 and pooling, each through a 1×1 convolution that keeps
/// it cheap (Szegedy et al. 2014, figure 2b). 88 output channels.
final class InceptionA: Module {
    let branch1x1 = Conv2d(16, kernel: 1)
    let branch5x5_1 = Conv2d(16, kernel: 1)
    let branch5x5_2 = Conv2d(24, kernel: 5, padding: 2)
    let branch3x3_1 = Conv2d(16, kernel: 1)
    let branch3x3_2 = Conv2d(24, kernel: 3, padding: 1)
    let branch3x3_3 = Conv2d(24, kernel: 3, padding: 1)
    let branch_pool = Conv2d(24, kernel: 1)

    func callAsFunction(_ x: Value) -> Value {
        concatenate([
            branch1x1(x),
            branch5x5_2(branch5x5_1(x)),
            branch3x3_3(branch3x3_2(branch3x3_1(x))),
            branch_pool(averagePool(x, kernel: 3, stride: 1, padding: 1)),
        ])
    }
}

/// The lecture's inception network for digits: two convolutions, each followed by an inception block.
public final class InceptionMNIST: Module {
    let conv1 = Conv2d(10, kernel: 5)
    let incep1 = InceptionA()
    let conv2 = Conv2d(20, kernel: 5)
    let incep2 = InceptionA()
    let fc: Linear?

    /// `classes` nil leaves the last layer out.
    public init(classes: Int? = 10) { fc = classes.map { Linear($0) } }

    public func callAsFunction(_ x: Value) -> Value {
        let h1 = incep1(relu(maxPool(conv1(x), kernel: 2)))
        let h2 = incep2(relu(maxPool(conv2(h1), kernel: 2)))
        let h = flatten(h2)
        return fc?(h) ?? h
    }
}
