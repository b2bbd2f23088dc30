import DTrainTensor
import Testing

@Suite struct SpellingTests {
    let names = ["mlp", "lenet5", "cnn-mnist", "inception-mnist"]

    @Test(arguments: [
        ("lenet", ["lenet5"]), ("LENET5", ["lenet5"]), ("lente5", ["lenet5"]), ("mpl", ["mlp"]),
        ("cnn", ["cnn-mnist"]), ("incepton-mnist", ["inception-mnist"]), ("mnist", ["cnn-mnist", "inception-mnist"]),
        ("transformer", []), ("", []), ("x", []),
    ]) func findsTheNamesThatAreNear(word: String, expected: [String]) {
        #expect(nearest(word, to: names) == expected)
    }

    @Test func theNearestComesFirstAndTheLimitHolds() {
        #expect(nearest("adan", to: ["sgd", "adamw", "adam"]) == ["adam", "adamw"])
        #expect(nearest("adan", to: ["sgd", "adamw", "adam"], limit: 1) == ["adam"])
    }

    @Test func theSuggestionIsEmptyWhereNothingIsNear() {
        #expect(suggestion(for: "lenet", among: names) == " (did you mean lenet5?)")
        #expect(suggestion(for: "transformer", among: names).isEmpty)
    }
}
