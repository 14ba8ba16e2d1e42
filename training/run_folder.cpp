#include "luxgrad/training/run_folder.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <system_error>

#include "luxgrad/data/file.h"
#include "luxgrad/data/file_ops.h"
#include "luxgrad/data/image.h"

namespace lux {
namespace {

namespace fs = std::filesystem;

// A number as JSON knows it.
std::string json_number(double value) { return std::isfinite(value) ? exact_text(value) : "null"; }

// Text by hand: a JSON object needs memory even to be destroyed, and ends the process where there is none.
std::string json_line(const StepRecord& record) {
  std::string line =
      cat("{\"epoch\":", record.epoch, ",\"step\":", record.step, ",\"lr\":", json_number(record.lr));
  const auto add = [&line](const std::string& name, double value) {
    line += cat(",\"", name, "\":", json_number(value));
  };
  for (const auto& [name, value] : record.losses) add(name, value);
  add("grad_norm", record.grad_norm);
  add("data_seconds", record.data_seconds);
  add("step_seconds", record.step_seconds);
  return line + (record.skipped ? ",\"skipped\":true}\n" : "}\n");
}

std::string csv_header(const StepRecord& record) {
  std::string line = "epoch,step,lr";
  for (const auto& [name, value] : record.losses) line += "," + name;
  return line + ",grad_norm,data_seconds,step_seconds,skipped\n";
}

std::string csv_line(const StepRecord& record) {
  std::string line = cat(record.epoch, ",", record.step, ",", exact_text(record.lr));
  for (const auto& [name, value] : record.losses) line += "," + exact_text(value);
  for (const double value : {record.grad_norm, record.data_seconds, record.step_seconds}) {
    line += "," + exact_text(value);
  }
  return line + (record.skipped ? ",1\n" : ",0\n");
}

// A TOML value: numbers and truth values as they are, everything else as a string, as a folder named 007 or
// inf is.
std::string toml_value(const std::string& value) {
  double parsed = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), parsed);
  const bool is_number = error == std::errc() && std::isfinite(parsed) && exact_text(parsed) == value;
  if (is_number || value == "true" || value == "false") return value;
  return nlohmann::json(value).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

void write_text(const std::string& path, const std::string& text) {
  (void)write_file_atomically(path, bytes_of(text)).value();
}

std::string made(const std::string& path) {
  for (const char* const part : {"/checkpoints", "/samples"}) (void)make_folders(path + part).value();
  return path;
}

// Whether something bears the name. Throws FileException where the system does not say.
bool is_there(const std::string& path) {
  std::error_code error;
  const bool found = fs::exists(path, error);
  if (error)
    throw FileException({FileErrorCode::unwritable, path, -1, "cannot be looked at: " + error.message()});
  return found;
}

}  // namespace

bool RunFolder::used(const std::string& path) {
  if (is_there(path + "/config.toml") || trained(path)) return true;
  const std::string checkpoints = path + "/checkpoints";
  if (!is_there(checkpoints)) return false;
  Result<std::vector<std::string>> names = list_folder(checkpoints);
  if (!names) throw FileException({FileErrorCode::unwritable, checkpoints, -1, names.error().reason});
  return std::any_of(names->begin(), names->end(), is_checkpoint_name);
}

bool RunFolder::trained(const std::string& path) {
  const auto filled = [&path](const char* name) {
    std::error_code none;
    const auto bytes = fs::file_size(path + name, none);
    return !none && bytes > 0;
  };
  return filled("/log.jsonl") || filled("/log.csv") || filled("/best.safetensors");
}

RunFolder::RunFolder(std::string path)
    : path_(std::move(path)), report_(path_), lock_(FolderLock::take(made(path_)).value()) {
  for (const char* const part : {"", "/checkpoints", "/samples"}) {
    (void)remove_temporary_files(path_ + part).value();
  }
  (void)replaceable(path_ + "/best.safetensors").value();
}

void RunFolder::write_config(const Facts& config) const {
  std::string text = "# The effective configuration of this run.\n";
  for (const auto& [key, value] : config) text += cat(key, " = ", toml_value(value), "\n");
  write_text(path_ + "/config.toml", text);
}

void RunFolder::write_manifest(const std::string& text) const { write_text(path_ + "/manifest.jsonl", text); }

std::string RunFolder::manifest() const {
  const auto bytes = read_file(path_ + "/manifest.jsonl");
  return bytes ? std::string(bytes.value().begin(), bytes.value().end()) : "";
}

bool RunFolder::log(const StepRecord& record) {
  const std::string json = json_line(record);
  const std::string csv = (csv_bytes_ == 0 ? csv_header(record) : "") + csv_line(record);
  const auto json_bytes = append_to_file(path_ + "/log.jsonl", json);
  const auto csv_bytes = append_to_file(path_ + "/log.csv", csv);
  if (json_bytes) jsonl_bytes_ += json_bytes.value();
  if (csv_bytes) csv_bytes_ += csv_bytes.value();
  return json_bytes && csv_bytes;
}

bool RunFolder::log_validation(int64_t epoch, double psnr) {
  const auto bytes = append_to_file(
      path_ + "/log.jsonl", cat("{\"epoch\":", epoch, ",\"validation_psnr\":", json_number(psnr), "}\n"));
  if (bytes) jsonl_bytes_ += bytes.value();
  return static_cast<bool>(bytes);
}

std::vector<std::string> RunFolder::rewind_logs(const Progress& progress) {
  std::vector<std::string> notices;
  const auto rewind = [&](const std::string& log, int64_t bytes) {
    std::error_code none;
    const bool longer = fs::is_regular_file(fs::symlink_status(log, none)) &&
                        fs::file_size(log, none) >= static_cast<uintmax_t>(bytes);
    const int64_t kept = keep_lines(log, bytes).value();
    if (kept < bytes)
      notices.push_back(
          longer
              ? log +
                    " is another one than its checkpoint knows, which ends inside a line of it: it goes on "
                    "after the last whole one before"
              : log +
                    " is shorter than its checkpoint says: lines are lost, it goes on after the last whole "
                    "one");
    return kept;
  };
  jsonl_bytes_ = rewind(path_ + "/log.jsonl", progress.jsonl_bytes);
  csv_bytes_ = rewind(path_ + "/log.csv", progress.csv_bytes);
  return notices;
}

std::string RunFolder::save(const Checkpoint& checkpoint) const {
  // The lengths of the logs in the checkpoint must hold after a loss of power; but lines that the disk
  // refused are not worth the checkpoint.
  for (const char* const log : {"/log.jsonl", "/log.csv"}) (void)flush_file(path_ + log);
  (void)flush_folder(path_);
  std::string path = cat(checkpoints(), "/", checkpoint_name(checkpoint.progress.step));
  save_checkpoint(path, checkpoint);
  if (const auto written = read_checkpoint(path); !written) {
    throw FileException({FileErrorCode::unwritable, path, -1,
                         cat("does not read back as it was written: ", written.error().reason)});
  }
  int64_t good = 0;
  for (const std::string& candidate : checkpoint_paths(checkpoints())) {
    if (good == kKept) {
      (void)file_ops().unlink(candidate.c_str());  // an old checkpoint that stays does no harm
    } else if (candidate == path || read_checkpoint(candidate)) {
      ++good;
    }
  }
  return path;
}

std::optional<FoundCheckpoint> RunFolder::latest(std::vector<FileError>& damaged) const {
  return latest_checkpoint(checkpoints(), damaged);
}

int64_t RunFolder::room_for(const std::string& path) const {
  std::error_code error;
  const auto bytes = static_cast<int64_t>(fs::file_size(path, error));
  const int64_t room = free_bytes(path_);
  return error || room < 0 ? -1 : room / std::max<int64_t>(1, bytes);
}

void RunFolder::save_best(const State& weights, const Facts& metadata) const {
  save_weights(path_ + "/best.safetensors", weights, metadata);
}

std::string RunFolder::save_not_finite(const State& tensors, const Facts& metadata) const {
  std::string path = path_ + "/not_finite.safetensors";
  save_weights(path, tensors, metadata);
  return path;
}

bool RunFolder::write_report(const Facts& config) {
  const std::string html = report_.page(config);
  return static_cast<bool>(write_file_atomically(path_ + "/report.html", bytes_of(html)));
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
