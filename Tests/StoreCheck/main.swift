import DTrainCheckpoint
import StoreSamples

// store-check DIRECTORY STEP FAULT: writes the sample checkpoint of STEP and dies where FAULT says.
let arguments = CommandLine.arguments
let store = try CheckpointStore(arguments[1], fault: CheckpointFault(arguments[3]))
try SampleCheckpoint(step: Int(arguments[2])!).save(in: store)
print("survived")
