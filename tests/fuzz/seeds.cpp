// Writes the valid files of every format (hostile_samples.h) for the fuzzers to start from: seeds/png/0, …
#include "../hostile_formats.h"
#include "luxgrad/data/file.h"
#include "luxgrad/data/folder.h"

int main(int count, char** arguments) {
  using namespace lux;
  if (count != 2) return 2;
  for (const hostile::Format& format : hostile::formats()) {
    const std::string folder = cat(arguments[1], "/", std::string(format.name));
    (void)make_folders(folder).value();
    int number = 0;
    for (const hostile::Bytes& file : format.samples())
      (void)write_file_atomically(cat(folder, "/", number++), file).value();
  }
}
