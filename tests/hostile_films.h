// Streams of frames as a format of hostile_formats.h: Y4M, and NUT as a child `ffmpeg` may write it.
#pragma once

#include <span>
#include <string>

#include "mutate.h"

namespace hostile {

// At least 30 files of one frame each, so that no cut leaves a valid one, and a few of several.
std::vector<Bytes> y4m_samples();
std::vector<Bytes> nut_samples();

std::vector<Piece> y4m_pieces(const Bytes& stream);
/// Packets and what stands between them.
std::vector<Piece> nut_pieces(const Bytes& stream);
/// Writes the checksums of packets.
void repair_nut(Bytes& stream);

/// As in Format. A stream without a frame is refused here.
std::string refuse_y4m(std::span<const uint8_t> bytes);
std::string refuse_nut(std::span<const uint8_t> bytes);
void prove_y4m(std::span<const uint8_t> bytes);
void prove_nut(std::span<const uint8_t> bytes);

}  // namespace hostile
