"""How much of each object can be seen, measured on the scene itself; runs inside Blender."""

# pyright: reportMissingImports=false, reportOptionalMemberAccess=false
from mathutils import Vector
from mathutils.bvhtree import BVHTree

VISIBILITY_PIXELS = 480  # a side of the grid of rays by which visibility is measured, whatever the image's size


class Visibility:
    """How much of each object can be seen, by one ray through each cell of a fine grid over the image."""

    def __init__(self, scene, render):
        self._camera = scene.camera
        longer = max(render["width"], render["height"])
        self._columns = round(VISIBILITY_PIXELS * render["width"] / longer)
        self._rows = round(VISIBILITY_PIXELS * render["height"] / longer)
        # corners of the image in the camera's coordinates, in the plane one unit before it
        top_right, _, bottom_left, top_left = self._camera.data.view_frame(scene=scene.scene)
        scale = -1.0 / top_left.z
        self._left, self._top = top_left.x * scale, top_left.y * scale
        self._width, self._height = (top_right.x - top_left.x) * scale, (top_left.y - bottom_left.y) * scale
        self._trees = {}
        self.cell_pixels = render["width"] / self._columns * render["height"] / self._rows

    def cells(self, things):
        """For each object the number of cells it covers alone, and of those where nothing is before it."""
        nearest, alone = {}, []
        for number, thing in enumerate(things):
            depths = self._depths(thing)
            alone.append(len(depths))
            for cell, depth in depths.items():
                if cell not in nearest or depth < nearest[cell][0]:
                    nearest[cell] = (depth, number)
        seen = [0] * len(things)
        for _, number in nearest.values():
            seen[number] += 1
        return list(zip(alone, seen, strict=True))

    def _depths(self, thing):
        """Distance from the camera in every cell that the object covers, the cells by their number."""
        to_object = thing.matrix_world.inverted()
        tree = self._tree(thing.data)
        pose = self._camera.matrix_world
        origin = to_object @ pose.translation
        turn = (to_object @ pose).to_3x3()
        columns, rows = self._box(thing)
        depths = {}
        for row in rows:
            y = self._top - (row + 0.5) / self._rows * self._height
            for column in columns:
                x = self._left + (column + 0.5) / self._columns * self._width
                ray = turn @ Vector((x, y, -1.0))  # not of unit length: its length is the same for every object
                depth = tree.ray_cast(origin, ray)[3]
                if depth is not None:
                    depths[row * self._columns + column] = depth / ray.length
        return depths

    def _tree(self, mesh):
        if mesh.name not in self._trees:
            vertices, polygons = ([v.co for v in mesh.vertices], [p.vertices for p in mesh.polygons])
            self._trees[mesh.name] = BVHTree.FromPolygons(vertices, polygons)
        return self._trees[mesh.name]

    def _box(self, thing):
        """Columns and rows that hold the object's projection."""
        to_camera = self._camera.matrix_world.inverted() @ thing.matrix_world
        corners = [to_camera @ Vector(corner) for corner in thing.bound_box]
        x = [(corner.x / -corner.z - self._left) / self._width * self._columns for corner in corners]
        y = [(self._top - corner.y / -corner.z) / self._height * self._rows for corner in corners]
        return _clipped(min(x), max(x), self._columns), _clipped(min(y), max(y), self._rows)


def _clipped(low, high, size):
    return range(max(0, int(low) - 1), min(size, int(high) + 2))
