import Foundation

/// Where files that are not data sets are kept for all runs of a user.
public enum CacheDirectory {
    /// `DTRAIN_CACHE`; else `dtrain` in `XDG_CACHE_HOME` (an absolute path, as the XDG base directory specification
    /// wants it), else in `~/.cache`. Not created.
    ///
    /// Throws `FetchError.noCacheDirectory` where `environment` has none of them.
    public static func path(_ environment: [String: String]) throws(FetchError) -> String {
        if let path = environment["DTRAIN_CACHE"], !path.isEmpty { return path }
        if let path = environment["XDG_CACHE_HOME"], path.hasPrefix("/") { return path + "/dtrain" }
        guard let home = environment["HOME"], !home.isEmpty else { throw .noCacheDirectory }
        return home + "/.cache/dtrain"
    }
}
