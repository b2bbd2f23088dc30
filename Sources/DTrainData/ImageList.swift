import DTrainTensor
import Foundation

/// Image files that somebody names one by one or by their folders.
public enum ImageList {
    /// The files that `paths` stand for: a file is itself, a folder all image files below it, sorted by path.
    ///
    /// Throws `DataError.notFound` for a path where nothing is, `.noImages` for a folder without images.
    public static func files(_ paths: [String]) throws(DataError) -> [String] {
        var files: [String] = []
        for path in paths {
            var isFolder: ObjCBool = false
            guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else {
                throw .unreadable(path: path, reason: "there is no such file")
            }
            guard isFolder.boolValue else {
                files.append(path)
                continue
            }
            let below = (FileManager.default.enumerator(atPath: path)?.allObjects as? [String]) ?? []
            let images = below.filter { name in
                name.split(separator: "/").last.map { ImageFiles.isImageName(Array($0.utf8)) && !$0.hasPrefix(".") }
                    ?? false
            }
            guard !images.isEmpty else {
                throw .unreadable(path: path, reason: "the folder holds no .jpg, .jpeg or .png file")
            }
            files += images.sorted { Array($0.utf8).lexicographicallyPrecedes(Array($1.utf8)) }.map { path + "/" + $0 }
        }
        return files
    }
}

/// Brings image files into the form that a model sees, one after the other.
public final class ImagePreparation {
    private let decoder = ImageDecoder()
    private let transforms: [any Transform]
    private let normaliser: Normaliser
    private let channels: Int
    private var scratch = SampleScratch()

    /// - Parameters:
    ///   - transforms: those of evaluation.
    ///   - channels: 1 (grey) or 3 (RGB).
    public init(transforms: [any Transform], normalisation: Normalisation, channels: Int) {
        self.transforms = transforms
        self.channels = channels
        normaliser = Normaliser(normalisation)
    }

    /// Decodes `path` and returns its pixels as the model sees them, before normalisation; valid until the next call.
    /// Throws `DataError`.
    public func pixels(of path: String) throws(DataError) -> PixelBuffer {
        try scratch.load(path: path, by: decoder, channels: channels, transforms: transforms)
    }

    /// Normalises `pixels` into `floats`.
    public func normalise(_ pixels: PixelBuffer, into floats: MemorySlice<Float>) {
        withExtendedLifetime(pixels) { normaliser.apply(pixels.bytes, into: floats) }
    }
}
