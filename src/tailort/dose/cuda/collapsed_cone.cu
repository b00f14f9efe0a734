// The collapsed cone on a GPU: rays, TERMA and transport, as fan.py, terma.py and cones.py have them on the CPU.
//
// Compiled with MOST_TERMS, the exponentials of a ring at most. Arrays are contiguous with the last index fastest; one
// thread works on one ray, voxel, direction or line, so threads side by side read memory side by side.

// One direction of a beam, all double: `view_of` in collapsed_cone_gpu.py fills it in this order.
struct View {
    double source[3];              // LPS mm
    double axes[3][3];             // beam limiting device x, y and the way to the source, LPS
    double sad;                    // mm
    double affine[3][4];           // dose voxel (k, j, i) to LPS mm
    double start[3];               // the source, index (k, j, i) of the density
    double to_index[3][3];         // LPS mm to index of the density
    double first[3];               // u, v, s of the first node of the rays, mm
    double pitch;                  // of the nodes, mm
    double map_start[2];           // edge of the first pixel of the fluence, mm
    double pixel;                  // mm
    double half[2];                // half the width of a voxel along x and y, mm
    double shift_step;             // mm
    double depth0, depth_step;     // of the tables of the kernel, cm
    double contamination, contamination_per_cm;  // cm2/g, 1/cm
};

__device__ inline double limited(double value, double low, double high) {
    return fmin(fmax(value, low), high);
}

__device__ inline int limited_index(int value, int high) {
    return min(max(value, 0), high);
}

// Radiological depths (layers s, rows v, columns u), cm: the exact way through the voxels of a density (nk, nj, ni).
extern "C" __global__ void trace(
    const View *view, const float *density, int nk, int nj, int ni, int layers, int rows, int columns, float *depths
) {
    const int ray = blockIdx.x * blockDim.x + threadIdx.x;
    if (ray >= rows * columns) return;
    const int shape[3] = {nk, nj, ni};
    const double low = view->first[2], pitch = view->pitch, sad = view->sad;
    const double u = view->first[0] + (ray % columns) * pitch, v = view->first[1] + (ray / columns) * pitch;
    const size_t layer = (size_t)rows * columns;
    float *out = depths + ray;
    // Everything along the ray is measured by s; a millimetre of s is `stretch` millimetres of path.
    const double stretch = sqrt(1.0 + (u * u + v * v) / (sad * sad));
    double step[3], to_next[3], by_voxel[3], first = 0.0, last = 1e30;
    int index[3], turn[3];
    for (int axis = 0; axis < 3; axis++) {
        step[axis] = 0.0;
        for (int n = 0; n < 3; n++) {
            const double along = (u * view->axes[0][n] + v * view->axes[1][n]) / sad - view->axes[2][n];
            step[axis] += view->to_index[axis][n] * along;
        }
        const double from = view->start[axis];
        if (fabs(step[axis]) < 1e-12) {
            if (from < -0.5 || from >= shape[axis] - 0.5) last = -1.0;
        } else {
            const double one = (-0.5 - from) / step[axis], other = (shape[axis] - 0.5 - from) / step[axis];
            first = fmax(first, fmin(one, other));
            last = fmin(last, fmax(one, other));
        }
    }
    int n = 0;
    double depth = 0.0;
    if (first < last) {
        for (; n < layers && low + n * pitch <= first; n++) out[n * layer] = 0.0f;
        const double middle = first + fmin(1e-9 * sad, 0.5 * (last - first));
        for (int axis = 0; axis < 3; axis++) {
            const double from = view->start[axis];
            index[axis] = (int)limited(rint(from + middle * step[axis]), 0.0, shape[axis] - 1.0);
            if (fabs(step[axis]) < 1e-12) {
                to_next[axis] = 1e30;
                by_voxel[axis] = 1e30;
                turn[axis] = 0;
            } else {
                turn[axis] = step[axis] > 0 ? 1 : -1;
                by_voxel[axis] = 1.0 / fabs(step[axis]);
                to_next[axis] = (index[axis] + 0.5 * turn[axis] - from) / step[axis];
            }
        }
        double here = first;
        while (n < layers && here < last) {
            int axis = 0;
            if (to_next[1] < to_next[axis]) axis = 1;
            if (to_next[2] < to_next[axis]) axis = 2;
            const double leave = fmin(to_next[axis], last);
            const double rate = density[((size_t)index[0] * nj + index[1]) * ni + index[2]] * stretch * 0.1;
            for (; n < layers && low + n * pitch <= leave; n++)
                out[n * layer] = (float)(depth + rate * (low + n * pitch - here));
            depth += rate * fmax(leave - here, 0.0);
            here = fmax(leave, here);
            index[axis] += turn[axis];
            to_next[axis] += by_voxel[axis];
            if (index[axis] < 0 || index[axis] >= shape[axis]) break;
        }
    }
    for (; n < layers; n++) out[n * layer] = (float)depth;
}

// Fluence summed up to a place counted in pixels.
__device__ inline double corner(const double *summed, double a, double b, int width, int height) {
    a = limited(a, 0.0, width);
    b = limited(b, 0.0, height);
    const int m = min((int)a, width - 1), n = min((int)b, height - 1);
    a -= m;
    b -= n;
    const double *at = summed + (size_t)n * (width + 1) + m;
    return (1.0 - b) * ((1.0 - a) * at[0] + a * at[1]) + b * ((1.0 - a) * at[width + 1] + a * at[width + 2]);
}

__device__ inline double between(const double *table, int n, double part) {
    return table[n] + part * (table[n + 1] - table[n]);
}

// Adds the TERMA of each voxel (nk, nj, ni), its flow (3, nk, nj, ni), and the dose of contaminating electrons.
extern "C" __global__ void terma(
    const View *view, int nk, int nj, int ni, const double *summed, const double *stray, int height, int width,
    const float *depths, int layers, int rows, int columns, const double *shift, int shifts, const double *released,
    const double *hardness, const double *fluence, int tabulated, float *soft, float *hard, float *flow, float *surface
) {
    const long long size = (long long)nk * nj * ni, at = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= size) return;
    const int i = at % ni, j = at / ni % nj, k = at / ni / nj;
    double way[3];
    for (int n = 0; n < 3; n++) {
        const double *row = view->affine[n];
        way[n] = row[0] * k + row[1] * j + row[3] - view->source[n] + row[2] * i;
    }
    const double x = way[0], y = way[1], z = way[2];
    const double s = -(view->axes[2][0] * x + view->axes[2][1] * y + view->axes[2][2] * z);
    if (s <= 0.0) return;
    const double scale = view->sad / s, pixel = view->pixel;
    const double u = (view->axes[0][0] * x + view->axes[0][1] * y + view->axes[0][2] * z) * scale;
    const double v = (view->axes[1][0] * x + view->axes[1][1] * y + view->axes[1][2] * z) * scale;
    const double wu = view->half[0] * scale, wv = view->half[1] * scale;
    const double a0 = (u - wu - view->map_start[0]) / pixel, a1 = (u + wu - view->map_start[0]) / pixel;
    const double b0 = (v - wv - view->map_start[1]) / pixel, b1 = (v + wv - view->map_start[1]) / pixel;
    if (a1 <= 0.0 || b1 <= 0.0 || a0 >= width || b0 >= height) return;
    const double box = corner(summed, a1, b1, width, height) - corner(summed, a0, b1, width, height)
                       - corner(summed, a1, b0, width, height) + corner(summed, a0, b0, width, height);
    const double mean = box / (4.0 * wu * wv);
    if (mean <= 0.0) return;
    const double fu = (u - view->first[0]) / view->pitch, fv = (v - view->first[1]) / view->pitch;
    const double fs = (s - view->first[2]) / view->pitch;
    const int nu = limited_index((int)fu, max(columns - 2, 0)), nv = limited_index((int)fv, max(rows - 2, 0));
    const int ns = limited_index((int)fs, max(layers - 2, 0));
    const int on_u = min(nu + 1, columns - 1) - nu, on_v = min(nv + 1, rows - 1) - nv;
    const int on_s = min(ns + 1, layers - 1) - ns;
    const double gu = limited(fu - nu, 0.0, 1.0), gv = limited(fv - nv, 0.0, 1.0), gs = limited(fs - ns, 0.0, 1.0);
    double depth = 0.0;
    for (int layer = 0; layer < 2; layer++)
        for (int row = 0; row < 2; row++) {
            const float *node = depths + ((size_t)(ns + layer * on_s) * rows + nv + row * on_v) * columns + nu;
            depth += (layer ? gs : 1.0 - gs) * (row ? gv : 1.0 - gv) * ((1.0 - gu) * node[0] + gu * node[on_u]);
        }
    if (view->contamination > 0.0) {
        const int m = limited_index((int)((u - view->map_start[0]) / pixel), width - 1);
        const int n = limited_index((int)((v - view->map_start[1]) / pixel), height - 1);
        const double stopped = exp(-view->contamination_per_cm * depth);
        const double electrons = view->contamination * stray[(size_t)n * width + m] * stopped;
        surface[at] = (float)(surface[at] + scale * scale * electrons);
    }
    const double radius = sqrt(u * u + v * v) / view->shift_step;
    int n = min((int)radius, shifts - 2);
    const double back = between(shift, n, radius - n);
    const double place = fmin(fmax(depth - back - view->depth0, 0.0) / view->depth_step, tabulated - 1.001);
    n = (int)place;
    const double mixed = between(hardness, n, place - n);
    double value = mean * scale * scale * between(released, n, place - n);
    // In air the softer beam has the energy fluence that the map tells.
    const double air = (-view->depth0 - back) / view->depth_step;
    n = (int)air;
    value /= between(fluence, n, air - n);
    soft[at] = (float)(soft[at] + value * (1.0 - mixed));
    hard[at] = (float)(hard[at] + value * mixed);
    const double length = value / sqrt(x * x + y * y + z * z);
    for (int axis = 0; axis < 3; axis++) flow[axis * size + at] = (float)(flow[axis * size + at] + length * way[axis]);
}

// What lines read at a voxel, ordered (planes, rows, columns) from arrays of any strides: TERMA by the open and by the
// hardened kernel, and the flow along two axes (2, 3) across the beam.
extern "C" __global__ void gather(
    const float *soft, const float *hard, const float *flow, const float *across, int planes, int rows, int columns,
    int by_plane, int by_row, int by_column, float4 *sources
) {
    const long long size = (long long)planes * rows * columns, to = (long long)blockIdx.x * blockDim.x + threadIdx.x;
    if (to >= size) return;
    const long long at = to / columns / rows * by_plane + to / columns % rows * by_row + to % columns * by_column;
    const float x = flow[at], y = flow[size + at], z = flow[2 * size + at];
    sources[to] = make_float4(
        soft[at], hard[at], across[0] * x + across[1] * y + across[2] * z, across[3] * x + across[4] * y + across[5] * z
    );
}

// Voxels by which a line has jumped so many planes after its anchor; rounded alike on every device.
__device__ inline int jumped(double planes, double tilt) {
    return (int)floor(__dadd_rn(__dmul_rn(planes, tilt), 0.5));
}

// Jumps (directions, planes, 2) of each direction's lines before each plane that they pass, along rows and columns.
extern "C" __global__ void jumps(
    const int *sign, const double *tilt, int directions, double anchor, int planes, signed char *out
) {
    const int m = blockIdx.x * blockDim.x + threadIdx.x;
    if (m >= directions) return;
    const double behind = sign[m] > 0 ? anchor : planes - 1 - anchor;
    for (int side = 0; side < 2; side++) {
        int at = jumped(-behind, tilt[2 * m + side]);
        for (int n = 0; n < planes; n++) {
            // Where the tilt is 1, rounding must not make it 2.
            const int jump = min(max(jumped(n - behind, tilt[2 * m + side]) - at, -1), 1);
            at += jump;
            out[((size_t)m * planes + n) * 2 + side] = (signed char)jump;
        }
    }
}

// Energy that directions (blockIdx.y) leave in each voxel (planes, rows, columns). A thread follows one line; where it
// leaves the grid on one side it goes on as the line that enters on the other, so each voxel is crossed once.
extern "C" __global__ void transport(
    const float4 *sources, const float *dense, int planes, int rows, int columns, const int *sign,
    const signed char *jumps, const float *rates, const float *weights, int terms, float negligible, float *left
) {
    const int line = blockIdx.x * blockDim.x + threadIdx.x, m = blockIdx.y;
    if (line >= rows * columns) return;
    float carried[MOST_TERMS], rate[MOST_TERMS], w[4][MOST_TERMS];
#pragma unroll
    for (int term = 0; term < MOST_TERMS; term++) {
        const bool used = term < terms;
        carried[term] = 0.0f;
        rate[term] = used ? rates[m * terms + term] : 0.0f;
        for (int part = 0; part < 4; part++) w[part][term] = used ? weights[(m * 4 + part) * terms + term] : 0.0f;
    }
    int row = line / columns, column = line % columns;
    const bool upwards = sign[m] > 0;
    const signed char *jump = jumps + (size_t)m * planes * 2;
    for (int n = 0; n < planes; n++, jump += 2) {
        row += jump[0];
        column += jump[1];
        if (row < 0 || row >= rows || column < 0 || column >= columns) {
            row += row < 0 ? rows : row >= rows ? -rows : 0;
            column += column < 0 ? columns : column >= columns ? -columns : 0;
#pragma unroll
            for (int term = 0; term < MOST_TERMS; term++) carried[term] = 0.0f;
        }
        const size_t at = ((size_t)(upwards ? n : planes - 1 - n) * rows + row) * columns + column;
        const float4 t = sources[at];
        bool still = t.x == 0.0f && t.y == 0.0f;
#pragma unroll
        for (int term = 0; term < MOST_TERMS; term++) still = still && fabsf(carried[term]) <= negligible;
        if (still) {
#pragma unroll
            for (int term = 0; term < MOST_TERMS; term++) carried[term] = 0.0f;
            continue;
        }
        const float density = dense[at];
        float sum = 0.0f;
#pragma unroll
        for (int term = 0; term < MOST_TERMS; term++) {
            if (term >= terms) break;
            const float s = w[0][term] * t.x + w[1][term] * t.y + w[2][term] * t.z + w[3][term] * t.w;
            const float x = rate[term] * density;
            // exp(x/16) by its series, then to the power of 16.
            const float y = fminf(x, 30.0f) * (1.0f / 16);
            float p = 1.0f + y * (1.0f + 0.5f * y * (1.0f + (1.0f / 3) * y * (1.0f + 0.25f * y * (1.0f + 0.2f * y))));
            p *= p;
            p *= p;
            p *= p;
            p *= p;
            const float r = 1.0f / (x * p);
            const float phi = x > 0.03f ? (p - 1.0f) * r : 1.0f - x * 0.5f * (1.0f - x * (1.0f / 3));
            const float d = carried[term] - s;
            carried[term] = s + x * r * d;
            sum += s + phi * d;
        }
        atomicAdd(left + at, sum);
    }
}
