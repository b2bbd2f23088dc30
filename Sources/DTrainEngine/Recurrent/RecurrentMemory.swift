internal import DTrainTensor

/// Where a recurrent layer's memory lies: offsets in its saved memory and its workspaces, in floats.
struct RecurrentMemory {
    /// Gates of every step: computed by forward, turned into their gradients by backward.
    let gates = 0
    /// Floats from one row of gates to the next: whole cache lines, and not a multiple of 2 KiB, at which the rows of a
    /// product would meet in the same few places of the first-level cache.
    let gateStride: Int
    /// c after every step (LSTM).
    let cells: Int
    /// The states before the first step of each sample.
    let initialHidden: Int
    let initialCell: Int
    let savedCount: Int

    /// The products of the input's side, and over all steps.
    let product: MatrixProduct
    /// weight_hh for the way forward, laid out in panels: of the gates that add to the input's side, and of those that do not.
    let forwardWeight: StepWeight
    let forwardPanels = 0
    let apartWeight: StepWeight
    let apartPanels: Int
    /// Each thread's scratch memory for products.
    let forwardScratch: Int
    /// The input's side of each token of an embedding.
    let tokenGates: Int
    let forwardCount: Int

    /// weight_hh for the way back.
    let backwardWeight: StepWeight
    let backwardPanels = 0
    /// Gradients of the states, which pass from step to step.
    let hiddenGradient: Int
    let cellGradient: Int
    /// Each thread's sums for the biases.
    let biasSums: Int
    let biasSumCount: Int
    let backwardScratch: Int
    /// The sum of the gates' gradients of each token.
    let tokenGradients: Int
    let backwardCount: Int

    init(_ operation: Recurrent, _ extents: Extents) {
        let (hidden, cell) = (operation.hidden, operation.cell)
        let isLSTM = cell == .lstm
        let width = (cell.storedGateCount * hidden).wholeLines
        gateStride = width % 512 == 0 ? width + 16 : width
        cells = (extents.rows * gateStride).wholeLines
        initialHidden = cells + (isLSTM ? extents.rows * hidden : 0).wholeLines
        initialCell = initialHidden + (extents.samples * hidden).wholeLines
        savedCount = initialCell + (isLSTM ? extents.samples * hidden : 0).wholeLines

        product = operation.product(extents)
        let (gateCount, isBF16) = (cell.gateCount * hidden, product.isBF16)
        let apartCount = cell == .gru ? hidden : 0
        forwardWeight = StepWeight(depth: hidden, columns: gateCount - apartCount, isBF16: isBF16)
        apartWeight = StepWeight(depth: hidden, columns: apartCount, isBF16: isBF16)
        apartPanels = forwardWeight.count.wholeLines
        forwardScratch = apartPanels + apartWeight.count.wholeLines
        tokenGates = forwardScratch + extents.threads * product.scratchCount
        let tokenCount = (operation.embedding?.vocabulary ?? 0) * gateStride
        forwardCount = tokenGates + tokenCount

        backwardWeight = StepWeight(depth: gateCount, columns: hidden, isBF16: isBF16)
        hiddenGradient = backwardWeight.count.wholeLines
        cellGradient = hiddenGradient + (extents.samples * hidden).wholeLines
        biasSums = cellGradient + (isLSTM ? extents.samples * hidden : 0).wholeLines
        biasSumCount = width
        backwardScratch = biasSums + extents.threads * biasSumCount
        tokenGradients = backwardScratch + extents.threads * product.scratchCount
        backwardCount = tokenGradients + tokenCount
    }
}
