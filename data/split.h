// Parts of a dataset: by a list of names, by the end of the list, or by chance that depends on names alone.
#pragma once

#include <string>
#include <utility>

#include "luxgrad/data/dataset.h"

namespace lux {

/// The pictures that a text file names, in the order of the dataset: one name per line, as the dataset has
/// it, with or without extension, or the folder that pictures are in. Empty lines and lines that begin with #
/// say nothing. Problems are names that there are not. Throws FileException for a file that cannot be read,
/// or that names none.
PictureListing select_named(const PictureList& pictures, const std::string& path);

/// The first and the last part of a list; the last one holds `validation` elements, as Keras splits before it
/// shuffles. Throws Error when there are fewer.
std::pair<PictureList, PictureList> split_dataset(const PictureList& pictures, int64_t validation);

/// A part for training and one for validation, each in the order of the list. Names and seed alone decide:
/// neither the order nor the place of the files matters. Pictures with one reference, such as the exposures
/// of a scene, stay together, so the second part has `validation` elements or a few more. Throws Error when
/// there are fewer.
std::pair<PictureList, PictureList> split_by_name(const PictureList& pictures, int64_t validation,
                                                  uint64_t seed);

/// How many of `pictures` a person means by a share below 1, at least one, or by a number. Throws Error for
/// anything else.
int64_t validation_size(double wanted, int64_t pictures);

}  // namespace lux
