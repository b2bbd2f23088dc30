// What a program that trains its own model imports: layers, models, data, and the command line as `TrainingProgram`.
@_exported public import DTrainCLI
@_exported public import DTrainData
@_exported public import DTrainEngine
@_exported public import DTrainLayers
@_exported public import DTrainModels
@_exported public import DTrainTensor
