// The text kit and the readers of /proc, for those who know them by this name.

@_exported import Proc
@_exported import Text
