#include "luxgrad/training/run_folder.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <system_error>

#include "luxgrad/data/file.h"
#include "luxgrad/data/image.h"
#include "luxgrad/data/safetensors.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

// Appends text, and gives the bytes to the system before it returns.
bool append_text(const std::string& path, const std::string& text) {
  const auto close = [](std::FILE* file) { std::fclose(file); };
  const std::unique_ptr<std::FILE, decltype(close)> file(std::fopen(path.c_str(), "ae"), close);
  return file != nullptr && std::fwrite(text.data(), 1, text.size(), file.get()) == text.size() &&
         std::fflush(file.get()) == 0;
}

std::string number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string json_line(const StepRecord& record) {
  nlohmann::ordered_json line{{"epoch", record.epoch}, {"step", record.step}, {"lr", record.lr}};
  for (const auto& [name, value] : record.losses) line[name] = value;
  line["grad_norm"] = record.grad_norm;
  line["data_seconds"] = record.data_seconds;
  line["step_seconds"] = record.step_seconds;
  if (record.skipped) line["skipped"] = true;
  return line.dump() + "\n";
}

std::string csv_header(const StepRecord& record) {
  std::string line = "epoch,step,lr";
  for (const auto& [name, value] : record.losses) line += "," + name;
  return line + ",grad_norm,data_seconds,step_seconds,skipped\n";
}

std::string csv_line(const StepRecord& record) {
  std::string line = cat(record.epoch, ",", record.step, ",", number(record.lr));
  for (const auto& [name, value] : record.losses) line += "," + number(value);
  for (const double value : {record.grad_norm, record.data_seconds, record.step_seconds}) {
    line += "," + number(value);
  }
  return line + (record.skipped ? ",1\n" : ",0\n");
}

// A TOML value: numbers and truth values as they are, everything else as a string.
std::string toml_value(const std::string& value) {
  double parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  const bool is_number = error == std::errc() && end == value.data() + value.size();
  if (is_number || value == "true" || value == "false") return value;
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void make_folder(const fs::path& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error)
    throw FileException({FileErrorCode::unwritable, path, -1, cat("cannot be made: ", error.message())});
}

// Cuts a file to at most `bytes`; returns its length.
int64_t cut(const fs::path& path, int64_t bytes) {
  std::error_code error;
  const auto size = fs::file_size(path, error);
  if (error) return 0;
  const auto kept = std::min(size, static_cast<uintmax_t>(bytes));
  fs::resize_file(path, kept, error);
  if (error)
    throw FileException({FileErrorCode::unwritable, path, -1, cat("cannot be cut: ", error.message())});
  return static_cast<int64_t>(kept);
}

}  // namespace

RunFolder::RunFolder(std::string path) : path_(std::move(path)) {
  make_folder(fs::path(path_) / "checkpoints");
  make_folder(fs::path(path_) / "samples");
}

bool RunFolder::used() const { return fs::exists(fs::path(path_) / "config.toml"); }

void RunFolder::write_config(const Facts& config) const {
  std::string text = "# The effective configuration of this run.\n";
  for (const auto& [key, value] : config) text += cat(key, " = ", toml_value(value), "\n");
  const auto* const bytes = reinterpret_cast<const uint8_t*>(text.data());
  (void)write_file_atomically(path_ + "/config.toml", {bytes, text.size()}).value();
}

bool RunFolder::log(const StepRecord& record) {
  const std::string json = json_line(record);
  const std::string csv = (csv_bytes_ == 0 ? csv_header(record) : "") + csv_line(record);
  if (!append_text(path_ + "/log.jsonl", json) || !append_text(path_ + "/log.csv", csv)) return false;
  jsonl_bytes_ += static_cast<int64_t>(json.size());
  csv_bytes_ += static_cast<int64_t>(csv.size());
  return true;
}

void RunFolder::rewind_logs(const Progress& progress) {
  jsonl_bytes_ = cut(fs::path(path_) / "log.jsonl", progress.jsonl_bytes);
  csv_bytes_ = cut(fs::path(path_) / "log.csv", progress.csv_bytes);
}

std::string RunFolder::save(const Checkpoint& checkpoint) const {
  const fs::path folder = fs::path(path_) / "checkpoints";
  const std::string path = folder / checkpoint_name(checkpoint.progress.step);
  save_checkpoint(path, checkpoint);
  std::vector<std::string> names;
  for (const auto& entry : fs::directory_iterator(folder)) {
    const std::string name = entry.path().filename();
    if (name.starts_with("step_") && name.ends_with(".safetensors")) names.push_back(name);
  }
  std::sort(names.begin(), names.end());
  for (size_t i = 0; i + kKept < names.size(); ++i) {
    std::error_code ignored;  // an old checkpoint that stays does no harm
    fs::remove(folder / names[i], ignored);
  }
  return path;
}

std::optional<FoundCheckpoint> RunFolder::latest(std::vector<FileError>& damaged) const {
  return latest_checkpoint(path_ + "/checkpoints", damaged);
}

void RunFolder::save_best(const State& weights, const Facts& metadata) const {
  save_safetensors(path_ + "/best.safetensors", {weights, metadata});
}

void RunFolder::save_sample(int64_t epoch, const Tensors& pictures) const {
  const int64_t H = pictures.at(0).size(1), W = pictures[0].size(2);
  const auto count = static_cast<int64_t>(pictures.size());
  Tensor row = empty({1, H, count * W, 3});
  for (int64_t p = 0; p < count; ++p) {
    const Tensor picture = pictures[static_cast<size_t>(p)].to(DType::f32);
    check(picture.shape() == Shape{1, H, W, 3}, "save_sample: expected ", Shape{1, H, W, 3}, ", got ",
          picture.shape());
    for (int64_t y = 0; y < H; ++y) {
      std::memcpy(row.data<float>() + (y * count + p) * W * 3, picture.data<float>() + y * W * 3,
                  static_cast<size_t>(W) * 3 * sizeof(float));
    }
  }
  const std::string digits = std::to_string(epoch);
  save_image(
      cat(path_, "/samples/epoch_", std::string(3 - std::min<size_t>(3, digits.size()), '0'), digits, ".png"),
      from_tensor(row));
}

}  // namespace lux
