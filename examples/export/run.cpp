// Runs a compiled model on a structure, without Python: ./run MODEL.pt2 STRUCTURE.xyz
// The file is what `zoo export NAME --format aoti` wrote; the structure an (ext)xyz file, with Lattice="…" if periodic.
#include <cmath>
#include <fstream>
#include <iostream>
#include <sstream>
#include <torch/torch.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: run MODEL.pt2 STRUCTURE.xyz\n", 2;
  c10::InferenceMode guard;
  torch::inductor::AOTIModelPackageLoader model(argv[1]);
  auto about = model.get_metadata();  // cutoff, elements, dtype, weights_sha256
  const double cutoff = std::stod(about.at("cutoff"));

  std::istringstream known(about.at("elements")), numbers(about.at("atomic_numbers"));
  std::map<std::string, int64_t> number_of;
  for (std::string symbol; known >> symbol;) numbers >> number_of[symbol];

  std::ifstream file(argv[2]);
  int64_t n = 0;
  std::string line, symbol;
  if (!(file >> n) || !std::getline(file, line) || !std::getline(file, line)) return std::cerr << "not xyz\n", 2;
  auto options = torch::kFloat64;
  auto cell = torch::zeros({3, 3}, options), pos = torch::zeros({n, 3}, options), z = torch::zeros({n}, torch::kInt64);
  auto at = line.find("Lattice=\"");
  const bool periodic = at != std::string::npos;
  if (periodic) {
    std::istringstream lattice(line.substr(at + 9));
    for (int k = 0; k < 9; k++) lattice >> cell.data_ptr<double>()[k];
  }
  for (int64_t i = 0; i < n && std::getline(file, line); i++) {
    std::istringstream row(line);
    row >> symbol;
    if (!number_of.count(symbol)) return std::cerr << symbol << " is not among the model's elements\n", 2;
    z[i] = number_of[symbol];
    for (int k = 0; k < 3; k++) row >> pos.data_ptr<double>()[3 * i + k];
  }

  // Every directed edge j -> i shorter than the cut-off, in every image: n² pairs, enough for an example.
  int64_t reach[3] = {0, 0, 0};
  if (periodic)
    for (int k = 0; k < 3; k++)
      reach[k] = std::ceil(cutoff * torch::linalg_inv(cell).select(1, k).norm().item<double>());
  std::vector<int64_t> source, target;
  std::vector<double> shift;
  const double *r = pos.data_ptr<double>(), *h = cell.data_ptr<double>();
  for (int64_t i = 0; i < n; i++)
    for (int64_t j = 0; j < n; j++)
      for (int64_t a = -reach[0]; a <= reach[0]; a++)
        for (int64_t b = -reach[1]; b <= reach[1]; b++)
          for (int64_t c = -reach[2]; c <= reach[2]; c++) {
            double squared = 0;
            for (int k = 0; k < 3; k++) {
              double x = r[3 * j + k] - r[3 * i + k] + a * h[k] + b * h[3 + k] + c * h[6 + k];
              squared += x * x;
            }
            if (squared >= cutoff * cutoff || (i == j && !a && !b && !c)) continue;
            source.push_back(j), target.push_back(i);
            shift.insert(shift.end(), {double(a), double(b), double(c)});
          }
  const int64_t edges = source.size();
  if (n < 2 || edges < 2) return std::cerr << "at least two atoms that are neighbours are needed\n", 2;
  auto edge_index = torch::stack({torch::tensor(source, torch::kInt64), torch::tensor(target, torch::kInt64)});
  auto edge_shift = torch::tensor(shift, options).view({edges, 3});

  auto out = model.run({z, pos, cell, edge_index, edge_shift});  // energy, forces, atomic_energies[, stress]
  std::cout.precision(12);
  std::cout << "energy (eV): " << out[0].item<double>() << "\nforces (eV/Å):\n" << out[1];
  if (periodic && out.size() > 3) std::cout << "\nstress (eV/Å³):\n" << out[3];
  std::cout << std::endl;
}
