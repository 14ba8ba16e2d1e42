// The manifest of a run: the files that it learns from, with sizes and hashes, one JSON object per line. A
// resumed run must find the same ones.
#pragma once

#include <string>
#include <vector>

#include "luxgrad/data/scan.h"

namespace lux {

/// The text of manifest.jsonl: `{"file":"low/1.png","bytes":1234,"width":600,"height":400,"sha256":"…"}`,
/// names `printable`.
std::string manifest_of(const std::vector<ScannedFile>& files);

/// What differs between two manifests, for a person: `2.png has other content, 3.png is gone, 4.png is new`;
/// at most the first five. Empty where nothing does.
std::string changes_between(const std::string& before, const std::string& now);

}  // namespace lux
