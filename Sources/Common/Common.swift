// The text kit, for those who know it by this name.

@_exported import Text
