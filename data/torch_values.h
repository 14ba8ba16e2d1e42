// What PyTorch's pickles of weights mention by name: a list that is all there is, and the checks of what is
// said about storages and tensors.
#pragma once

#include <string_view>
#include <vector>

#include "luxgrad/data/pickle.h"
#include "luxgrad/tensor/dtype.h"

namespace lux {

/// How the elements of a storage lie in the file, and as what they are kept.
struct StorageType {
  std::string_view name;  ///< PyTorch's class
  int64_t bytes;
  DType kept;
  int64_t (*widen)(uint64_t bits);  ///< for types that are kept wider, else null
};

struct TorchGlobal {
  enum class Meaning : uint8_t { ordered_dict, tensor, tensor_v2, parameter, size, device, storage_type };

  std::string_view module, name;
  Meaning meaning;
  StorageType type{};  ///< of a storage type
};

/// The number of a global, -1 where the list has none of this name.
int64_t torch_global(std::string_view module, std::string_view name);
const TorchGlobal& torch_global(int64_t number);

/// A run of elements in the file, and the part of it that tensors may see.
struct TorchStorage {
  const StorageType& type;
  std::string_view key;
  int64_t numel;
  int64_t begin, end;
};

/// The storage that a persistent id describes. Refuses, at `offset`, what PyTorch would not have written.
TorchStorage torch_storage(const PickleValue& id, int64_t offset);

/// Sizes and strides in elements; every element lies within the storage's part.
struct TorchTensor {
  TorchStorage storage;
  int64_t first;  ///< element of the storage
  std::vector<int64_t> sizes, strides;
};

/// The tensor that the arguments of `_rebuild_tensor` describe; `_rebuild_tensor_v2` has three more, which
/// may not change what is read. Refuses, at `offset`, what PyTorch would not have written.
TorchTensor torch_tensor(const PickleValue& arguments, int64_t offset);

}  // namespace lux
