import DTrainData
import Foundation
import Testing

@Suite struct VocabularyTests {
    @Test("Characters are numbered by code point, each once, and text comes back")
    func numbers() throws {
        let vocabulary = Vocabulary("béaab\n".unicodeScalars)
        #expect(vocabulary.names == ["\n", "a", "b", "é"])
        #expect(try vocabulary.encode("baé\n") == [2, 1, 3, 0])
        #expect(vocabulary.text(of: [3, 0, 1]) == "é\na")
        #expect(vocabulary.number(of: "x") == nil)
    }

    @Test("A character that is not there is named with its place; so is text of which nothing is left")
    func unknown() {
        let vocabulary = Vocabulary("abc".unicodeScalars)
        var error = #expect(throws: DataUsageError.self) { try vocabulary.encode("abéc") }
        #expect(
            error?.description
                == "'abéc' has 'é' (U+00E9) at position 3, which is none of the 3 characters of the vocabulary; "
                + "leave it out, or train with data that have it")
        error = #expect(throws: DataUsageError.self) { try vocabulary.encode("a\u{7}") }
        #expect(error?.description.contains("has U+0007 at position 2") == true)
        error = #expect(throws: DataUsageError.self) { try vocabulary.encode("") }
        #expect(error?.description == "the text is empty; give at least one character")
        let folding = Vocabulary("abc".unicodeScalars, folding: .ascii)
        error = #expect(throws: DataUsageError.self) { try folding.encode("李") }
        #expect(error?.description == "nothing is left of '李' in ASCII; give at least one letter")
        // The place is that in the text as it was given: what folding drops counts.
        error = #expect(throws: DataUsageError.self) { try folding.encode("李áx") }
        #expect(error?.description.contains("'x' (U+0078) at position 3") == true)
    }

    @Test("Folding drops accents and what is no ASCII letter, as the tutorial's unicodeToAscii does")
    func folding() throws {
        func fold(_ text: String) -> String {
            var result = String.UnicodeScalarView()
            for character in text.unicodeScalars { result += TextFolding.ascii.fold(character) }
            return String(result)
        }
        // Expected values from unicodedata.normalize("NFD", …) without category Mn, filtered by the allowed characters.
        #expect(fold("Ślusàrski") == "Slusarski")
        #expect(fold("O'Néàl-Smith, Jr.;") == "O'Neal-Smith, Jr.;")
        #expect(fold("Łuç\u{0327}ß1/ Ǖ") == "uc U")
        #expect(fold("e\u{0301}") == "e")
    }

    @Test("A vocabulary survives JSON, control characters and all; another one has another digest")
    func coding() throws {
        let vocabulary = Vocabulary("\u{0}\n\"\\é\u{301}😀a".unicodeScalars, folding: .ascii)
        let decoded = try JSONDecoder().decode(Vocabulary.self, from: JSONEncoder().encode(vocabulary))
        #expect(decoded == vocabulary && decoded.digest == vocabulary.digest)
        let others = [
            Vocabulary("ab".unicodeScalars), Vocabulary("ac".unicodeScalars),
            Vocabulary("ab".unicodeScalars, folding: .ascii),
        ]
        #expect(Set(others.map(\.digest)).count == 3)
        #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(Vocabulary.self, from: Data(#"{"characters": "ba"}"#.utf8))
        }
    }
}
