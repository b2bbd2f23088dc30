import DTrainEngine
import DTrainModels
import Testing

/// The memory of a step of the models whose values outweigh their parameters.
@Suite struct ArenaTests {
    @Test(
        arguments: ["resnet18-cifar", "resnet50", "resnext50_32x4d", "densenet121", "googlenet", "vgg16"],
        Precision.allCases.filter { $0.obstacle == nil })
    func theArenaIsHardlyLargerThanItMustBe(_ name: String, precision: Precision) throws {
        let entry = try #require(ModelEntry.all.first { $0.name == name })
        let graph = try Graph.trace(
            entry.make(ModelOptions(classes: entry.classes)), input: entry.input,
            TraceOptions(.training, objective: entry.objective))
        let plan = Plan(graph, layout: graph.parameterLayout(), capacity: 8, threads: 1, precision: precision)
        #expect(plan.arenaLowerBound > 0 && plan.arenaCount >= plan.arenaLowerBound)
        #expect(Double(plan.arenaCount) <= 1.03 * Double(plan.arenaLowerBound))
    }
}
