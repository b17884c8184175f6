# SPDX-License-Identifier: GPL-2.0-or-later
"""The numbers of the information classes (MS-FSCC 2.4 and 2.5), and which of them QUERY_INFO and SET_INFO do not
carry."""
from __future__ import annotations

from typing import Final

# MS-FSCC 2.4
FileDirectoryInformation: Final = 1
FileFullDirectoryInformation: Final = 2
FileBothDirectoryInformation: Final = 3
FileBasicInformation: Final = 4
FileStandardInformation: Final = 5
FileInternalInformation: Final = 6
FileEaInformation: Final = 7
FileAccessInformation: Final = 8
FileNameInformation: Final = 9
FileRenameInformation: Final = 10
FileLinkInformation: Final = 11
FileNamesInformation: Final = 12
FileDispositionInformation: Final = 13
FilePositionInformation: Final = 14
FileFullEaInformation: Final = 15
FileModeInformation: Final = 16
FileAlignmentInformation: Final = 17
FileAllInformation: Final = 18
FileAllocationInformation: Final = 19
FileEndOfFileInformation: Final = 20
FileAlternateNameInformation: Final = 21
FileStreamInformation: Final = 22
FilePipeInformation: Final = 23
FilePipeLocalInformation: Final = 24
FilePipeRemoteInformation: Final = 25
FileCompressionInformation: Final = 28
FileNetworkOpenInformation: Final = 34
FileAttributeTagInformation: Final = 35
FileIdBothDirectoryInformation: Final = 37
FileIdFullDirectoryInformation: Final = 38
FileValidDataLengthInformation: Final = 39
FileShortNameInformation: Final = 40
FileNormalizedNameInformation: Final = 48
FileIdInformation: Final = 59
FileIdExtdDirectoryInformation: Final = 60
FileDispositionInformationEx: Final = 64
FileRenameInformationEx: Final = 65
FileIdExtdBothDirectoryInformation: Final = 63
FileId64ExtdDirectoryInformation: Final = 78
FileId64ExtdBothDirectoryInformation: Final = 79
FileIdAllExtdDirectoryInformation: Final = 80
FileIdAllExtdBothDirectoryInformation: Final = 81
FilePosixInformation: Final = 100
"""SMB3 POSIX extensions, 2.2.14: for files (QUERY_INFO) and listings (QUERY_DIRECTORY)."""

QUERY_KNOWN: Final = frozenset(
    (1, 2, 3, 9, 12, 26, 27, 29, 31, 33, 36, 37, 38, 43, 44, 45, 46, 47, 50, 51, 52, 54, 60, 63, 68, 70, 71, 78, 79, 80,
     81)
)
"""Classes of MS-FSCC 2.4 that exist but cannot be queried by SMB2 QUERY_INFO (MS-SMB2 3.3.5.20.1):
STATUS_NOT_SUPPORTED."""

SET_KNOWN: Final = frozenset((30, 36, 41, 42, 43, 58, 61, 66, 67, 69, 71, 74))
"""Classes of MS-FSCC 2.4 with the use "Set" that SMB2 SET_INFO does not carry (MS-SMB2 3.3.5.21.1):
STATUS_NOT_SUPPORTED."""

# MS-FSCC 2.5
FileFsVolumeInformation: Final = 1
FileFsLabelInformation: Final = 2
FileFsSizeInformation: Final = 3
FileFsDeviceInformation: Final = 4
FileFsAttributeInformation: Final = 5
FileFsControlInformation: Final = 6
FileFsFullSizeInformation: Final = 7
FileFsObjectIdInformation: Final = 8
FileFsDriverPathInformation: Final = 9
FileFsVolumeFlagsInformation: Final = 10
FileFsSectorSizeInformation: Final = 11
FileFsPosixInformation: Final = 100
